"""``python -m xqueue_core.conformance URL``: run the kit on a broker and report."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xqueue_core.conformance.badge import badge_data, badge_line
from xqueue_core.conformance.cases import all_cases
from xqueue_core.conformance.harness import BackendHarness
from xqueue_core.conformance.report import Result
from xqueue_core.conformance.run import run, try_to_open
from xqueue_core.errors import ConfigError, XQueueError


def harness_for(url: str, time_scale: float = 1.0, *, proxy: bool = False) -> BackendHarness:
    """A harness for the installed backend that the URL names.

    Namespaces are the kit's own: what else the broker keeps is not touched. With ``proxy`` some
    cases put one in front of the server. Raises ConfigError, also if the URL names no server.
    """
    from xqueue_core.plugins import load_backend
    from xqueue_core.settings import backend_name, backend_settings, load_settings

    name = backend_name(url)
    backend = load_backend(name)
    base = load_settings({"url": url})

    def settings(namespace: str, changes: Mapping[str, Any]) -> Any:
        made = backend_settings(base, url, backend.Settings)
        return made.model_copy(update={"namespace": namespace, **_moved(made, changes)})

    return BackendHarness(
        backend,
        settings,
        name=name,
        time_scale=time_scale,
        child=(url,),
        server=_server(url, settings("kit", {})) if proxy else None,
    )


def _moved(settings: Any, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes, with another host and port said as these settings say theirs."""
    if "host" not in changes or "hosts" not in type(settings).model_fields:
        return changes
    rest = {name: value for name, value in changes.items() if name not in ("host", "port")}
    return {**rest, "hosts": (f"{changes['host']}:{changes['port']}",)}


def _server(url: str, settings: Any) -> tuple[str, int]:
    """Where the server listens that these settings name."""
    host, port = getattr(settings, "host", ""), getattr(settings, "port", 0)
    if not (host and isinstance(host, str) and port and isinstance(port, int)):
        from xqueue_core.settings import masked

        raise ConfigError(
            f"{masked(url)}: there is no server to put a proxy in front of; leave out --proxy"
        )
    return host, port


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if every case that concerns the backend ran and passed, 1 if not, 2 on misuse.

    It is 1 as well if only some cases were asked for, or the backend could not be opened.
    """
    options = _parser().parse_args(arguments)
    # What the engine says about handlers that fail as a case wants is not the report's business.
    logging.getLogger("xqueue").addHandler(logging.NullHandler())
    if options.list:
        for one in all_cases():
            print(f"{one.id}\t{one.doc}")  # noqa: T201
        return 0
    if not options.url:
        return _error("which broker? say for example sqlite:///kit.db", 2)
    if "://" not in options.url:
        return _error("that is no URL of a broker: say for example sqlite:///kit.db", 2)
    if not (0.1 <= options.time_scale <= 1000 and 1 <= options.at_once <= 64):
        return _error("--time-scale is 0.1 to 1000, and --at-once 1 to 64", 2)
    for name in ("json", "badge"):  # told before minutes of work
        file = getattr(options, name)
        if file and not Path(file).absolute().parent.is_dir():
            return _error(f"--{name}: there is no folder {Path(file).absolute().parent}", 2)
    try:
        harness = harness_for(options.url, options.time_scale, proxy=options.proxy)
        try_to_open(harness, options.loop)
        report = run(
            harness,
            loop=options.loop,
            only=options.only,
            at_once=options.at_once,
            progress=None if options.quiet else _show,
        )
    except (ConfigError, ValueError) as error:
        return _error(str(error), 2)
    except XQueueError as error:
        return _error(str(error), 1)
    if options.json:
        Path(options.json).write_text(report.json(), encoding="utf-8")
    if options.badge:
        Path(options.badge).write_text(json.dumps(badge_data(report)), encoding="utf-8")
    print(report.text(brief=options.quiet or bool(options.only)))  # noqa: T201
    print(badge_line(report))  # noqa: T201
    if advice := report.advice():
        print(advice, file=sys.stderr)  # noqa: T201
    return 0 if report.ok else 1


def _error(text: str, code: int) -> int:
    print(f"error: {text}", file=sys.stderr)  # noqa: T201
    return code


def _show(result: Result) -> None:
    word = "passed" if result.passed else "FAILED"
    print(f"{word} {result.id} {result.seconds:.2f} s", file=sys.stderr)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m xqueue_core.conformance", description=__doc__)
    parser.add_argument("url", nargs="?", help="the broker, for example sqlite:///kit.db")
    parser.add_argument("--only", nargs="+", default=(), metavar="ID", help="only these cases")
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    parser.add_argument("--time-scale", type=float, default=1.0, help="stretch every wait")
    parser.add_argument(
        "--proxy", action="store_true", help="fail the network too: put a proxy before the server"
    )
    parser.add_argument("--at-once", type=int, default=1, help="cases that run at the same time")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    parser.add_argument("--badge", metavar="FILE", help="write what shields.io makes a badge of")
    parser.add_argument("--list", action="store_true", help="list the cases and exit")
    parser.add_argument("--quiet", action="store_true", help="show no case as it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
