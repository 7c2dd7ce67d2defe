"""``python -m services [KIND ...]``: fetch the servers, start each once, and say what they are."""

from __future__ import annotations

import sys

from services import KINDS, program, redis


def main(kinds: list[str]) -> int:
    """Try these kinds, by default all; the exit code is 1 if one cannot be had."""
    code = 0
    for kind in kinds or KINDS:
        try:
            with redis(kind) as server:
                print(f"{kind}: {server.version}, {program(kind).path}")
        except (RuntimeError, ValueError) as error:
            print(f"{kind}: {error}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
