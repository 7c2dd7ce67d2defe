"""``python -m xqueue_core.conformance URL``: run the kit on a broker and report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xqueue_core.conformance.cases import all_cases
from xqueue_core.conformance.harness import BackendHarness
from xqueue_core.conformance.report import Result
from xqueue_core.conformance.run import run
from xqueue_core.errors import ConfigError


def harness_for(url: str, time_scale: float = 1.0) -> BackendHarness:
    """A harness for the installed backend that the URL names.

    Namespaces are the kit's own: what else the broker keeps is not touched. Raises ConfigError.
    """
    from xqueue_core.plugins import load_backend
    from xqueue_core.settings import backend_name, backend_settings, load_settings

    name = backend_name(url)
    backend = load_backend(name)
    base = load_settings({"url": url})

    def settings(namespace: str, changes: Mapping[str, Any]) -> Any:
        made = backend_settings(base, url, backend.Settings)
        return made.model_copy(update={"namespace": namespace, **changes})

    return BackendHarness(backend, settings, name=name, time_scale=time_scale, child=(url,))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if every case that concerns the backend ran and passed, 1 if not, 2 on misuse."""
    options = _parser().parse_args(arguments)
    # What the engine says about handlers that fail as a case wants is not the report's business.
    logging.getLogger("xqueue").addHandler(logging.NullHandler())
    if options.list:
        for one in all_cases():
            print(f"{one.id}\t{one.doc}")  # noqa: T201
        return 0
    if not options.url:
        print("which broker? say for example sqlite:///kit.db", file=sys.stderr)  # noqa: T201
        return 2
    try:
        harness = harness_for(options.url, options.time_scale)
        report = run(
            harness,
            loop=options.loop,
            only=options.only,
            at_once=options.at_once,
            progress=None if options.quiet else _show,
        )
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if options.json:
        Path(options.json).write_text(report.json(), encoding="utf-8")
    print(report.text())  # noqa: T201
    return 0 if report.ok else 1


def _show(result: Result) -> None:
    word = "passed" if result.passed else "FAILED"
    print(f"{word} {result.id} {result.seconds:.2f} s", file=sys.stderr)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m xqueue_core.conformance", description=__doc__)
    parser.add_argument("url", nargs="?", help="the broker, for example sqlite:///kit.db")
    parser.add_argument("--only", nargs="+", default=(), metavar="ID", help="only these cases")
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    parser.add_argument("--time-scale", type=float, default=1.0, help="stretch every wait")
    parser.add_argument("--at-once", type=int, default=1, help="cases that run at the same time")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    parser.add_argument("--list", action="store_true", help="list the cases and exit")
    parser.add_argument("--quiet", action="store_true", help="show no case as it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
