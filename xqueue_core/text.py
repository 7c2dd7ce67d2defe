"""Text that comes from users' code, made fit to be stored."""

from __future__ import annotations


def storable(text: str) -> str:
    r"""The same text, with what UTF-8 cannot hold written as an escape (``\udce9``).

    Lone surrogates are common in names of files that are not UTF-8; one of them would make the
    record it gets into impossible to encode.
    """
    if text.isascii():
        return str(text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
