"""The witness beside a log: what is missing is told before anything is written."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import duckdb
import pytest

import synth as product
from synth.base.errors import LogDamaged, LogError, LogShort
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from tests.kit.support import QUICKSTART, one_sentence, python, synth
from tests.store.log.test_log import event, written

PRICES = {"base": {"by": "synth.toml", "input": 1.0, "output": 2.0, "cached_input": 0.5}}


def events_of(log: Log, calls: int) -> list[Event]:
    """A run's beginning and some calls, each of which costs 0.0005."""
    first = Event(log.next_seq, Kind.RUN_STARTED, "run", 1, {"plan_hash": "", "prices": PRICES})
    answers = [
        event(log.next_seq + 1 + number, text=f"text {number}", cached_tokens=200)._replace(
            model="base", prompt_tokens=400, completion_tokens=100
        )
        for number in range(calls)
    ]
    return [first, *answers]


def killed_writer(path: Path, batches: int = 4) -> None:
    """Batches of eleven events each, ten calls among them, that are in the write-ahead log only."""
    script = f"""
import os, sys
from pathlib import Path
from synth.store.log.log import Log
from tests.store.log.test_witness import events_of
log = Log(Path(sys.argv[1]), writer=True)
for _ in range({batches}):
    log.append(events_of(log, 10))
os._exit(9)
"""
    assert python("-c", script, path).status == 9


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cut(path: Path, share: float) -> None:
    size = path.stat().st_size
    os.truncate(path, int(size * share))


@pytest.mark.parametrize("way", ["cut", "missing", "older", "emptied"])
def test_what_is_missing_is_told_and_nothing_written_until_it_is_accepted(tmp_path: Path, way: str) -> None:
    path = tmp_path / "log.duckdb"
    wal = tmp_path / "log.duckdb.wal"
    with Log(path, writer=True) as log:
        log.append(events_of(log, 10))
    older = path.read_bytes()
    killed_writer(path)
    match way:
        case "cut":
            cut(wal, 0.6)
        case "missing":
            wal.unlink()
        case "older":
            Log(path, writer=True).close()
            path.write_bytes(older)
        case "emptied":
            wal.unlink()
            path.write_bytes(b"")
    before = files(tmp_path)
    with pytest.raises(LogShort) as raised:
        Log(path, writer=True)
    assert files(tmp_path) == before
    claim = re.search(
        r"short of (\d+) events \((\d+) answers among them, which cost about ([\d.]+)\)", str(raised.value)
    )
    assert claim is not None, raised.value
    missing = int(claim[1])
    assert missing % 11 == 0
    assert missing == {"emptied": 55, "cut": missing}.get(way, 44)
    calls = missing // 11 * 10
    assert int(claim[2]) == calls
    assert float(claim[3]) == pytest.approx(calls * 0.0005)
    assert "synth doctor" in str(raised.value)
    if way != "emptied":
        with Log(path) as log:
            assert any(f"short of {missing} events" in notice for notice in log.notices)
        assert files(tmp_path) == before
    with Log(path, writer=True, accept_loss=True) as log:
        assert log.next_seq == 55 - missing
        assert log.loss is not None
        assert log.loss.events == missing
        assert "is accepted" in log.notices[0]
        log.append(events_of(log, 10))
    with Log(path, writer=True) as log:
        assert (log.notices, log.loss, log.next_seq) == ((), None, 66 - missing)


def test_a_witness_that_is_behind_is_normal(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    observer = tmp_path / "log.duckdb.witness"
    behind = observer.read_bytes()
    with Log(path, writer=True) as log:
        log.append([event(3), event(4)])
    observer.write_bytes(behind)
    with Log(path) as log:
        assert log.notices == ()
    with Log(path, writer=True) as log:
        assert (log.notices, log.next_seq) == ((), 5)
    assert observer.read_bytes() != behind


def test_a_log_without_its_witness_says_so_once_and_gets_one(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    for writer in (False, True):
        copy = Path(shutil.copy(path, tmp_path / f"copy {writer}.duckdb"))
        with Log(copy, writer=writer) as log:
            assert len(log.notices) == 1
            assert "has no witness beside it" in log.notices[0]
            assert "it gets one now" in log.notices[0]
        for again in (False, True):
            with Log(copy, writer=again) as log:
                assert log.notices == ()


def test_a_log_that_went_on_from_an_older_copy_is_told(tmp_path: Path) -> None:
    """As on two machines that each have a copy, and one witness."""
    path = written(tmp_path / "log.duckdb", [3])
    other = Path(shutil.copy(path, tmp_path / "other.duckdb"))
    with Log(path, writer=True) as log:
        log.append([event(3, text="here")])
    with Log(other, writer=True) as log:
        log.append([event(3, text="there"), event(4)])
    shutil.copy(other, path)
    with pytest.raises(LogShort, match="went on otherwise than its witness saw"):
        Log(path, writer=True)
    with Log(path) as log:
        assert "went on otherwise" in log.notices[0]


def test_another_log_in_its_place_gets_a_witness_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3, 3])
    other = written(tmp_path / "other.duckdb", [1])
    shutil.copy(other, path)
    for _ in range(2):
        with Log(path) as log:
            assert "is another log than the one of 6 events" in log.notices[0]
    with Log(path, writer=True) as log:
        assert "is another log than the one of 6 events" in log.notices[0]
    with Log(path, writer=True) as log:
        assert log.notices == ()


def test_a_log_that_was_removed_is_begun_with_a_word(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    path.unlink()
    with pytest.raises(LogError, match=r"there is no log at .* any more, says its witness"):
        Log(path)
    with Log(path, writer=True) as log:
        assert "is gone, and 3 events (3 answers among them) with it, says its witness" in log.notices[0]
        assert log.next_seq == 0
    with Log(path, writer=True) as log:
        assert log.notices == ()


def test_a_link_to_a_log_has_the_log_s_own_witness(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    (tmp_path / "here").mkdir()
    link = tmp_path / "here" / "link.duckdb"
    link.symlink_to(path)
    with Log(link, writer=True) as log:
        log.append([event(3)])
    assert [entry.name for entry in (tmp_path / "here").iterdir()] == ["link.duckdb"]
    with Log(path, writer=True) as log:
        assert (log.next_seq, log.notices) == (4, ())


@pytest.mark.parametrize("line", [0, 1])
def test_a_witness_of_which_one_line_was_cut_is_read_by_the_other(tmp_path: Path, line: int) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    older = path.read_bytes()
    with Log(path, writer=True) as log:
        log.append([event(3)])
        log.append([event(4)])
    observer = tmp_path / "log.duckdb.witness"
    text = bytearray(observer.read_bytes())
    assert len(text) == 1024
    text[512 * line + 20 : 512 * line + 60] = bytes(40)
    observer.write_bytes(text)
    path.write_bytes(older)
    with pytest.raises(LogShort, match=r"short of [12] events?"):
        Log(path, writer=True)


def test_something_else_in_the_place_of_the_witness_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    observer = tmp_path / "log.duckdb.witness"
    observer.unlink()
    observer.write_text("somebody's notes\n")
    with Log(path, writer=True) as log:
        assert "cannot be read" in log.notices[0]
        log.append([event(3)])
    assert observer.read_text() == "somebody's notes\n"
    observer.unlink()
    os.mkfifo(observer)
    with Log(path, writer=True) as log:
        assert log.next_seq == 4
        log.append([event(4)])


@pytest.mark.parametrize("size", [0, 100, 4096, 8192, 12288])
@pytest.mark.parametrize("filled", [True, False])
def test_a_log_that_was_killed_while_it_was_made_is_begun_again(
    tmp_path: Path, size: int, filled: bool
) -> None:
    whole = tmp_path / "whole.duckdb"
    duckdb.connect(str(whole)).close()
    path = tmp_path / "log.duckdb"
    path.write_bytes(whole.read_bytes()[:size] if filled else bytes(size))
    with pytest.raises(LogError, match="not a synth log yet: it holds nothing, as after a kill"):
        Log(path)
    assert path.stat().st_size == size
    written(path, [2])
    with Log(path) as log:
        assert (log.next_seq, log.notices) == (2, ())


def test_a_write_ahead_log_without_its_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "log.duckdb"
    killed_writer(path, 1)
    path.unlink()
    before = files(tmp_path)
    for writer in (True, False):
        with pytest.raises(LogDamaged, match=r"the file is gone, .* `synth doctor"):
            Log(path, writer=writer)
    assert files(tmp_path) == before


def test_commands_tell_what_is_missing_and_a_run_waits_to_be_told(tmp_path: Path) -> None:
    shutil.copy(QUICKSTART, tmp_path / "x.recipe")
    run = ("run", "x.recipe", "--simulate", "--set")
    assert synth(*run, "conversations=4", cwd=tmp_path).status == 0
    log = tmp_path / "synth.duckdb"
    older = log.read_bytes()
    assert synth(*run, "conversations=6", cwd=tmp_path).status == 0
    log.write_bytes(older)
    refused = one_sentence(synth(*run, "conversations=6", cwd=tmp_path), 5)
    assert re.match(
        r"synth.duckdb is not what it was: it is short of \d+ events \(4 answers among them\)", refused
    )
    assert "--accept-loss" in refused
    assert log.read_bytes() == older
    read = synth("sql", "SELECT 1", cwd=tmp_path)
    assert read.status == 0
    assert "warning: synth.duckdb is not what it was: it is short of" in read.err
    with pytest.warns(product.LogWarning, match="it is short of"):
        product.replay(product.compile(tmp_path / "x.recipe", conversations=4), log=log)
    on = synth(*run, "conversations=6", "--accept-loss", cwd=tmp_path)
    assert on.status == 0, on.err
    assert "and that is accepted" in on.err
    assert synth("status", cwd=tmp_path).err == ""
    accepted = synth(
        "sql",
        "SELECT payload -> 'accepted_loss' ->> 'calls' FROM events WHERE kind = 'run.started' "
        "ORDER BY seq DESC LIMIT 1",
        "--csv",
        cwd=tmp_path,
    )
    assert accepted.out.splitlines()[1] == "4"
