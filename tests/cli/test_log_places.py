"""What `--log` may name: a file of ours on this machine, or nothing yet.  Nothing else is touched."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import duckdb
import pytest

import synth as product
from synth.base.errors import LogError
from synth.store.log.log import Log
from tests.kit.support import QUICKSTART, ROOT, one_sentence, synth


def refused(path: str | Path, cwd: Path) -> str:
    """The sentence with which a log is refused to a writer, and to a reader as well."""
    plan = product.compile(QUICKSTART, conversations=2)
    os.chdir(cwd)
    with pytest.raises(LogError) as raised:
        product.run(plan, log=path, simulate=True)
    with pytest.raises(LogError) as read:
        product.replay(plan, log=path)
    assert str(read.value) == str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(autouse=True)
def stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/synth.duckdb",
        "s3://bucket/synth.duckdb",
        "md:synth",
        "ducklake:synth.duckdb",
        "sqlite:synth.db",
        "postgres:dbname=x",
        "file:synth.duckdb",
        "gcs://bucket/log",
    ],
)
def test_an_address_is_no_log(address: str, tmp_path: Path) -> None:
    assert refused(address, tmp_path).startswith(f"{address} is an address; `--log` names a file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE TABLE accounts (id INTEGER); INSERT INTO accounts VALUES (1)",
        "CREATE TABLE events (id INTEGER); CREATE TABLE batches (id INTEGER)",
        "CREATE VIEW events AS SELECT 1 AS seq",
    ],
)
@pytest.mark.parametrize("open_end", [True, False])
def test_another_application_s_database_is_left_alone(
    statements: str, open_end: bool, tmp_path: Path
) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(statements)
    if open_end:
        # What its application has not brought into its file yet must stay beside it.
        (tmp_path / "copy").mkdir()
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE more (id INTEGER)")
            for name in ("other.duckdb", "other.duckdb.wal"):
                (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
        path = tmp_path / "copy" / "other.duckdb"
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    assert "not a synth log: it has the tables of another application" in refused(path, tmp_path)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before


def test_what_is_no_file_or_no_database_is_refused(tmp_path: Path) -> None:
    sqlite = tmp_path / "mail.db"
    with sqlite3.connect(sqlite) as connection:
        connection.execute("CREATE TABLE mail (id INTEGER)")
    connection.close()
    content = sqlite.read_bytes()
    assert "is a SQLite database, not a log" in refused(sqlite, tmp_path)
    assert sqlite.read_bytes() == content
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is a pipe; `--log` names a file" in refused(pipe, tmp_path)
    assert "is a device; `--log` names a file" in refused("/dev/null", tmp_path)
    assert "is a folder; `--log` names a file" in refused(tmp_path, tmp_path)
    text = tmp_path / "text"
    text.write_text("words\n" * 4000)
    assert "is not a DuckDB file" in refused(text, tmp_path)


def test_a_command_refuses_an_address_in_a_sentence(tmp_path: Path) -> None:
    done = synth("run", QUICKSTART, "--simulate", "--log", "s3://bucket/x.duckdb", cwd=tmp_path)
    assert one_sentence(done, 5).startswith("s3://bucket/x.duckdb is an address")


def test_a_colon_in_a_whole_path_is_a_name(tmp_path: Path) -> None:
    with Log(tmp_path / "run:1.duckdb", writer=True) as log:
        assert log.next_seq == 0
    assert (tmp_path / "run:1.duckdb").exists()


def test_every_connection_is_made_at_the_one_door() -> None:
    found = [
        str(path.relative_to(ROOT))
        for folder in ("dsl", "compiler", "store", "runtime", "synth")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"duckdb\.(connect|sql|query|execute|default_connection)\(", path.read_text("utf-8"))
    ]
    assert sorted(set(found)) == ["store/log/connection.py"]


def test_what_is_connected_loads_nothing() -> None:
    from synth.store.log.connection import connect

    with connect() as connection:
        for name in ("autoinstall_known_extensions", "autoload_known_extensions"):
            assert connection.execute("SELECT current_setting(?)", [name]).fetchone() == (False,)
        with pytest.raises(duckdb.Error, match="httpfs"):
            connection.execute("FROM read_parquet('https://example.com/x.parquet')")
