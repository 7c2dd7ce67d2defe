"""The example of the author's guide keeps the whole contract, and stays short."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.docs_page import snippets
from third_party.sql_records.xqueue_sql import SqlBackend, SqlSettings
from third_party.sql_records.xqueue_sql.records import SqlRecords
from xqueue_core.conformance import BackendHarness, ConformanceSuite, Harness
from xqueue_core.errors import Refused, Unavailable
from xqueue_core.stored.records import ABSENT, Change, Group

HERE = Path(__file__).resolve().parent
GUIDE = HERE.parents[2] / "docs" / "writing-a-backend.md"
FILES = ("pyproject.toml", "xqueue_sql/__init__.py", "xqueue_sql/records.py")
ONE = [Group([Change("a", ABSENT, b"1")], [b"event"], {"count": 1})]


def test_a_sql_database_takes_about_100_lines() -> None:
    lines = (HERE / "xqueue_sql" / "records.py").read_text(encoding="utf-8").splitlines()
    assert 60 < sum(1 for line in lines if line.strip()) <= 120


@pytest.mark.parametrize("name", FILES)
def test_the_guide_shows_what_is_tested(name: str) -> None:
    shown = {one.file: one.text for one in snippets(GUIDE.read_text(encoding="utf-8"))}
    assert shown[name] == (HERE / name).read_text(encoding="utf-8")


def test_a_database_that_is_locked_is_unavailable_and_unchanged(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "test.db")
        records = SqlRecords(path)
        records._db.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await records.swap(ONE)
        other.execute("ROLLBACK")
        other.close()
        assert await records.swap(ONE) == [True]
        assert await records.counts("", "", 9) == [("count", 1)]
        records.close()

    asyncio.run(scenario())


def test_a_closed_database_refuses(tmp_path: Path) -> None:
    async def scenario() -> None:
        records = SqlRecords(str(tmp_path / "test.db"))
        records.close()
        with pytest.raises(Refused, match="closed"):
            await records.load(["a"])

    asyncio.run(scenario())


def harness(folder: str) -> Harness:
    """The example in this folder; in another process it is made by this function, too."""

    def settings(namespace: str, changes: Mapping[str, Any]) -> SqlSettings:
        return SqlSettings.model_validate({"path": folder, "namespace": namespace, **changes})

    child = (f"{__name__}:harness", folder)
    return BackendHarness(SqlBackend(), settings, name="sql-example", child=child)


@pytest.mark.timeout(300)
class TestConformance(ConformanceSuite):
    """The conformance kit."""

    at_once = 4

    @classmethod
    def harnesses(cls) -> Iterable[Harness]:
        """One folder for all namespaces."""
        yield harness(tempfile.mkdtemp(prefix="xqueue-sql-"))
