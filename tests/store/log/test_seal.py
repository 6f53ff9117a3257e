"""A log that nobody wrote to since it was closed is not hashed again, and any other is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from synth.base.errors import LogDamaged
from synth.store.log import chain
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches each opening hashes, in order."""
    counts: list[int] = []
    real = chain._altered_in

    def noted(cursor: duckdb.DuckDBPyConnection, batches: list[tuple[int, int, int, str, str]]) -> object:
        counts.append(len(batches))
        return real(cursor, batches)

    monkeypatch.setattr(chain, "_altered_in", noted)
    return counts


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    with Log(path, writer=True) as opened:
        for seq in range(3):
            opened.append([Event(seq, Kind.RUN_STOPPED, "run", 1, {"outcome": "finished", "reason": ""})])
    # As on a file system that keeps no fractions, which is not trusted.
    if path.stat().st_mtime_ns % 1_000_000_000 == 0:
        pytest.skip("the file system keeps whole seconds")
    return path


def test_a_log_as_its_writer_left_it_is_not_hashed_again(log: Path, hashed: list[int]) -> None:
    Log(log).close()
    with Log(log, writer=True) as opened:
        opened.append([Event(3, Kind.RUN_STOPPED, "run", 1, {"outcome": "finished", "reason": ""})])
    Log(log).close()
    assert hashed == []
    Log(log, trust=False).close()
    assert hashed == [4]


def _touched(log: Path) -> None:
    before = log.stat()
    os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _copied(log: Path) -> None:
    shutil.copy2(log, beside := log.with_suffix(".copy"))
    beside.replace(log)


def _without_witness(log: Path) -> None:
    log.with_name(f"{log.name}.witness").unlink()


@pytest.mark.parametrize("change", [_touched, _copied, _without_witness])
def test_any_other_log_is_hashed(log: Path, hashed: list[int], change: Callable[[Path], None]) -> None:
    change(log)
    Log(log).close()
    assert hashed == [3]


def test_an_event_that_is_altered_is_found(log: Path) -> None:
    with duckdb.connect(log) as altering:
        altering.execute("""UPDATE events SET payload = '{"outcome":"failed","reason":""}' WHERE seq = 1""")
    with pytest.raises(LogDamaged, match="batch 1 does not hold"):
        Log(log)


def test_a_log_whose_writer_was_killed_is_hashed(log: Path, hashed: list[int]) -> None:
    """What a killed writer leaves says nothing of the file."""
    writer = Log(log, writer=True)
    writer.append([Event(3, Kind.RUN_STOPPED, "run", 1, {"outcome": "finished", "reason": ""})])
    killed = log.with_name("killed.duckdb")
    for suffix in ("", ".wal", ".witness"):
        shutil.copy2(f"{log}{suffix}", f"{killed}{suffix}")
    writer.close()
    Log(killed).close()
    assert hashed == [4]
