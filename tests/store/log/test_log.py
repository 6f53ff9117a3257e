"""The log: batches that hold or are named, one writer, crashes and full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.canonical import canonical_json
from synth.base.errors import LogDamaged, LogError, LogFull, LogHeld
from synth.store.log.chain import COLUMNS
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from tests.kit.support import ROOT, SOAK, environment, python


def event(seq: int, **payload: Any) -> Event:
    return Event(
        seq, Kind.CALL_COMPLETED, "run", 1_700_000_000_000_000 + seq, payload, sample_id="00ff", step="s"
    )


def written(path: Path, batches: list[int]) -> Path:
    seq = 0
    with Log(path, writer=True) as log:
        for size in batches:
            log.append([event(seq + i, text=f"text {seq + i}") for i in range(size)])
            seq += size
    return path


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3, 1, 2])
    with Log(path) as log:
        assert (log.next_seq, log.next_batch) == (6, 3)
        rows = log.cursor().execute("SELECT seq, payload FROM events ORDER BY seq").fetchall()
    assert [(seq, json.loads(payload)) for seq, payload in rows] == [
        (seq, {"text": f"text {seq}"}) for seq in range(6)
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), json_values),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=25 if SOAK else 10, deadline=None)
def test_any_payload_survives_and_verifies(payloads: list[dict[str, Any]]) -> None:
    """Including control characters, the separators of the chain's own text, and astral ones."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.duckdb"
        with Log(path, writer=True) as log:
            log.append([event(i, p=payload) for i, payload in enumerate(payloads)])
        with Log(path) as log:
            rows = log.cursor().execute("SELECT payload FROM events ORDER BY seq").fetchall()
    assert [json.loads(row[0])["p"] for row in rows] == payloads


@given(json_values | st.floats() | st.dictionaries(st.integers(), st.booleans()))
def test_canonical_json_is_what_the_json_module_writes(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert canonical_json(value) == written


@pytest.mark.parametrize("column", [c for c in COLUMNS if c not in ("seq", "batch_id")])
def test_an_altered_column_is_found_in_its_batch(tmp_path: Path, column: str) -> None:
    path = written(tmp_path / "log.duckdb", [4, 4, 4])
    value = '\'{"text": "other"}\'' if column == "payload" else "7"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"UPDATE events SET {column} = {value} WHERE seq = 5")
    with pytest.raises(LogDamaged, match="batch 1 does not hold: its events were altered"):
        Log(path)


def test_the_first_altered_batch_is_named_of_many_that_are_hashed_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    path = written(tmp_path / "log.duckdb", [1] * 210)
    with Log(path) as log:
        assert log.next_batch == 210
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE events SET payload = '{}' WHERE seq IN (209, 131, 140)")
    with pytest.raises(LogDamaged, match="batch 131 does not hold: its events were altered"):
        Log(path)


def test_events_that_lie_in_another_order_hold_and_an_altered_one_is_still_found(tmp_path: Path) -> None:
    """Some tool wrote the file anew: nothing is lost, and nothing may hide behind it."""
    path = written(tmp_path / "log.duckdb", [4, 4, 4])
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TEMP TABLE turned AS FROM events ORDER BY seq DESC")
        connection.execute("DELETE FROM events")
        connection.execute("INSERT INTO events FROM turned")
    with Log(path) as log:
        assert log.next_seq == 12
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE events SET step = 't' WHERE seq = 6")
    with pytest.raises(LogDamaged, match="batch 1 does not hold: its events were altered"):
        Log(path)


@pytest.mark.parametrize(
    ("statement", "batch", "fault"),
    [
        ("DELETE FROM events WHERE seq = 5", 1, "3 events instead of 4"),
        ("DELETE FROM events WHERE batch_id = 1", 1, "missing"),
        ("DELETE FROM batches WHERE batch_id = 1", 1, "have no batch"),
        ("DELETE FROM batches WHERE batch_id = 1; DELETE FROM events WHERE batch_id = 1", 2, "missing"),
        ("UPDATE events SET seq = 4 WHERE seq = 5", 1, "numbered"),
        ("UPDATE batches SET hash = repeat('a', 64) WHERE batch_id = 1", 2, "follow"),
        ("UPDATE batches SET prev_hash = repeat('a', 64) WHERE batch_id = 1", 1, "follow"),
        ("UPDATE batches SET hash = repeat('a', 64) WHERE batch_id = 2", 2, "altered"),
    ],
)
def test_damage_to_the_structure_names_its_batch(
    tmp_path: Path, statement: str, batch: int, fault: str
) -> None:
    path = written(tmp_path / "log.duckdb", [4, 4, 4])
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    with pytest.raises(LogDamaged, match=f"batch {batch} does not hold.*{fault}"):
        Log(path)


def test_a_second_writer_is_told_who_holds_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.duckdb"
    script = (
        "import sys, time; from pathlib import Path; from synth.store.log.log import Log;"
        "log = Log(Path(sys.argv[1]), writer=True); print('open', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, env=environment(), text=True
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        for writer in (True, False):
            with pytest.raises(LogHeld, match=f"process {holder.pid}:"):
                Log(path, writer=writer)
    finally:
        holder.kill()
        holder.communicate()


def test_files_that_are_no_log_are_refused_in_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database, and longer than a header would be\n" * 100)
    with pytest.raises(LogError, match="is not a DuckDB file"):
        Log(text, writer=True)
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    with pytest.raises(LogError, match="not a synth log"):
        Log(other)
    with pytest.raises(LogError, match="is a folder"):
        Log(tmp_path, writer=True)
    with pytest.raises(LogError, match="there is no log"):
        Log(tmp_path / "absent")


def test_a_killed_writer_loses_no_acknowledged_batch(tmp_path: Path) -> None:
    """kill -9 while committing: what was acknowledged is there, whole, and the chain holds."""
    path = tmp_path / "log.duckdb"
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from synth.store.log.log import Log
        from tests.store.log.test_log import event
        with Log(Path(sys.argv[1]), writer=True) as log:
            while True:
                log.append([event(log.next_seq + i, text="x" * 500) for i in range(37)])
                print(log.next_seq, flush=True)
        """
    )
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
            text=True,
        )
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(0.05 + 0.05 * round_)
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged = max([acknowledged, *(int(line) for line in rest.split())])
        with Log(path, writer=True) as log:
            assert log.next_seq >= acknowledged
            assert log.next_seq % 37 == 0


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: the write fails in the same place."""
    path = tmp_path / "log.duckdb"
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from synth.base.errors import LogFull
        from synth.store.log.log import Log
        from tests.store.log.test_log import event
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Log(Path(sys.argv[1]), writer=True) as log:
            log.append([event(0, text="first")])
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            try:
                while log.next_seq < 100_000:
                    log.append([event(log.next_seq + i, text="x" * 5000) for i in range(50)])
            except LogFull as error:
                print(log.next_seq)
                print(error)
        """
    )
    done = python("-c", script, path)
    assert done.status == 0, done.err
    safe, sentence = done.out.splitlines()
    assert f"{safe} events are safe: make room and run again" in sentence
    with Log(path, writer=True) as log:
        assert log.next_seq == int(safe) > 1
        log.append([event(log.next_seq, text="room again")])


def test_events_out_of_turn_are_refused(tmp_path: Path) -> None:
    with Log(tmp_path / "log.duckdb", writer=True) as log:
        log.append([event(0)])
        with pytest.raises(LogError, match="event 3 does not follow event 0"):
            log.append([event(3)])


@pytest.mark.parametrize(("column", "value"), [("attempt", "third"), ("latency_ms", 2**40)])
def test_a_batch_that_cannot_be_written_leaves_nothing_for_the_next(
    tmp_path: Path, column: str, value: Any
) -> None:
    path = tmp_path / "log.duckdb"
    with Log(path, writer=True) as log:
        log.append([event(0, text="first")])
        with pytest.raises(LogFull, match="1 events are safe"):
            log.append([event(1, text="good"), event(2, text="bad")._replace(**{column: value})])
        log.append([event(1, text="second")])
    with Log(path) as log:
        rows = log.cursor().execute("SELECT payload FROM events ORDER BY seq").fetchall()
    assert [json.loads(payload)["text"] for (payload,) in rows] == ["first", "second"]
