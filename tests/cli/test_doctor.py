"""`synth doctor`: what state a log is in, and what can be had of a damaged one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest

import synth as product
from synth.base.errors import LogHeld
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from synth.store.rescue.batches import _messages
from synth.store.rescue.doctor import State, diagnose
from synth.store.rescue.salvage import salvage
from tests.kit.payloads import kinds_in
from tests.kit.support import QUICKSTART, environment, one_sentence, query, rows, synth
from tests.store.log.test_log import written
from tests.store.log.test_witness import killed_writer


def flipped(path: Path, text: bytes) -> None:
    """Alters one bit where a file holds a text."""
    content = bytearray(path.read_bytes())
    at = content.index(text)
    content[at] ^= 1 << 6
    path.write_bytes(content)


def test_a_damaged_log_is_salvaged_and_made_whole_by_the_next_run(tmp_path: Path) -> None:
    shutil.copy(QUICKSTART, tmp_path / "x.recipe")
    run = ("run", "x.recipe", "--simulate", "--set", "conversations=8", "--log")
    write = ("materialize", "x.recipe", "--set", "conversations=8", "--log")
    assert synth(*run, "old.duckdb", cwd=tmp_path).status == 0
    whole = synth("doctor", "old.duckdb", cwd=tmp_path)
    assert whole.status == 0
    assert whole.out.startswith("old.duckdb is healthy: ")
    needless = synth("doctor", "old.duckdb", "--salvage", "new.duckdb", cwd=tmp_path)
    assert "healthy, so there is nothing to salvage" in one_sentence(needless, 1)
    assert not (tmp_path / "new.duckdb").exists()
    assert synth(*write, "old.duckdb", cwd=tmp_path).status == 0
    wanted = (tmp_path / "out/quickstart/train.jsonl").read_bytes()
    ((events,),) = query(tmp_path / "old.duckdb", "SELECT count(*) FROM events")

    # The events once more, in smaller batches, and in the middle one of them altered.
    log = tmp_path / "log.duckdb"
    names = [name for name in Event._fields if name not in ("kind", "payload")]
    found = query(
        tmp_path / "old.duckdb", f"SELECT kind, payload, {', '.join(names)} FROM events ORDER BY seq"
    )
    told = [
        Event(kind=Kind(kind), payload=json.loads(payload), **dict(zip(names, rest, strict=True)))
        for kind, payload, *rest in found
    ]
    with Log(log, writer=True) as opened:
        for at in range(0, events, 5):
            opened.append(told[at : at + 5])
    with duckdb.connect(str(log)) as connection:
        connection.execute("""UPDATE events SET payload = '{"text": "forged"}' WHERE seq = 12""")
    before = log.read_bytes()
    sick = synth("doctor", log, "--json", cwd=tmp_path)
    assert sick.status == 5
    diagnosis = sick.json()
    assert diagnosis["state"] == "damaged"
    assert "batch 2 does not hold: its events were altered" in diagnosis["said"][0]
    assert diagnosis["salvage"]["first"] == 10
    assert diagnosis["salvage"]["behind"] + diagnosis["salvage"]["lost"] == events - 10
    refused = one_sentence(synth(*run, "log.duckdb", cwd=tmp_path), 5)
    assert "`synth doctor log.duckdb`" in refused

    saved = synth("doctor", log, "--salvage", "new.duckdb", cwd=tmp_path)
    assert saved.status == 0, saved.err
    assert "event.lost" in kinds_in(tmp_path / "new.duckdb")
    assert saved.out.startswith("new.duckdb: 10 events can be had from its beginning on; ")
    assert log.read_bytes() == before
    assert "is there already" in one_sentence(
        synth("doctor", log, "--salvage", "new.duckdb", cwd=tmp_path), 1
    )
    after = synth("doctor", "new.duckdb", cwd=tmp_path)
    assert after.status == 0
    assert "it was salvaged" in after.out
    assert "1 run\n" in synth("status", "--log", "new.duckdb", cwd=tmp_path).out
    was = dict(query(tmp_path / "old.duckdb", "SELECT seq, payload FROM events"))
    kept = query(tmp_path / "new.duckdb", "SELECT seq, payload FROM events WHERE kind <> 'event.lost'")
    assert len(kept) == diagnosis["salvage"]["first"] + diagnosis["salvage"]["behind"]
    assert all(was[seq] == payload for seq, payload in kept)

    replayed = synth("replay", "x.recipe", "--set", "conversations=8", "--log", "new.duckdb", cwd=tmp_path)
    assert replayed.status == 0, replayed.err
    assert "pending in the log" in replayed.out
    assert "was salvaged" in replayed.err
    assert synth(*write, "new.duckdb", cwd=tmp_path).status == 3
    assert synth(*write, "new.duckdb", "--partial", cwd=tmp_path).status == 0
    some = {row["id"]: row for row in rows(tmp_path / "out/quickstart/train.jsonl")}
    all_rows = {row["id"]: row for row in map(json.loads, wanted.decode().splitlines())}
    assert 0 < len(some) < len(all_rows)
    assert all(all_rows[name] == row for name, row in some.items())

    assert synth(*run, "new.duckdb", cwd=tmp_path).status == 0
    assert synth(*write, "new.duckdb", cwd=tmp_path).status == 0
    assert (tmp_path / "out/quickstart/train.jsonl").read_bytes() == wanted
    held = synth("verify", "out/quickstart", "--log", "new.duckdb", cwd=tmp_path)
    assert held.status == 0
    assert "was salvaged" in held.err


def test_one_altered_bit_costs_nothing(tmp_path: Path) -> None:
    """The database refuses the file; its checksum says what the byte was, and the chain that it was."""
    path = written(tmp_path / "log.duckdb", [40] * 5)
    flipped(path, b"DUCK")
    assert diagnose(path).state is State.DAMAGED
    assert salvage(path, path, tmp_path / "new.duckdb").first == 200
    killed_writer(tmp_path / "other.duckdb", 5)
    wal = tmp_path / "other.duckdb.wal"
    flipped(wal, b"text 4")
    found = diagnose(tmp_path / "other.duckdb")
    assert found.state is State.DAMAGED
    assert "its write-ahead log is not as it was written at byte" in found.sentences[0]
    assert found.salvage is not None
    assert found.salvage.first == 55
    assert salvage(tmp_path / "other.duckdb", tmp_path / "other.duckdb", tmp_path / "more.duckdb").first == 55


def test_reading_that_is_killed_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "log.duckdb", [40] * 5)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    found = _messages(path, 0, True)
    next(found)
    assert len(list((tmp_path / "temporary").glob("synth-doctor-*"))) == 1
    found.close()
    assert list((tmp_path / "temporary").glob("synth-doctor-*")) == []


def test_what_is_missing_is_told_with_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.duckdb"
    killed_writer(path, 2)
    (tmp_path / "log.duckdb.wal").unlink()
    found = diagnose(path)
    assert found.state is State.SHORT
    assert "short of 22 events (20 answers among them, which cost about 0.01)" in found.sentences[1]
    assert synth("doctor", path, cwd=tmp_path).status == 5


@pytest.mark.parametrize("kind", ["of another log", "of another database", "a folder"])
def test_a_whole_log_beside_a_write_ahead_log_that_is_not_its_own(tmp_path: Path, kind: str) -> None:
    path, wal = written(tmp_path / "log.duckdb", [4] * 5), tmp_path / "log.duckdb.wal"
    if kind == "of another log":
        killed_writer(tmp_path / "other.duckdb", 3)
        shutil.copy(tmp_path / "other.duckdb.wal", wal)
    elif kind == "of another database":
        with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
            for query_ in ("CREATE TABLE batches (i INT)", "CHECKPOINT", "DROP TABLE batches"):
                connection.execute(query_)
            shutil.copy(tmp_path / "other.duckdb.wal", wal)
    else:
        wal.mkdir()
    before = path.read_bytes(), wal.is_dir() or wal.read_bytes()
    if kind == "a folder":
        (tmp_path / "log.duckdb.witness").unlink()
        told = "; it has no witness, so nobody can say whether it had more"
    else:
        told = ", and its witness saw no more"
    if kind == "of another log":
        assert salvage(path, path, tmp_path / "new.duckdb").first == 20
    else:
        found = diagnose(path)
        assert found.state is State.DAMAGED
        assert found.sentences[1] == f"without log.duckdb.wal the file is whole, with 20 events{told}"
        assert f"nothing can be had of {wal}: " in found.sentences[2]
        assert "move" in found.sentences[2]
    assert (path.read_bytes(), wal.is_dir() or wal.read_bytes()) == before


@pytest.mark.parametrize("size", [0, 5000])
def test_a_log_that_was_not_begun(size: int, tmp_path: Path) -> None:
    path = tmp_path / "log.duckdb"
    path.write_bytes(bytes(size))
    found = diagnose(path)
    assert found.state is State.UNBEGUN
    assert "`synth run` begins it again" in found.sentences[0]
    assert path.read_bytes() == bytes(size)


def test_what_is_no_log(tmp_path: Path) -> None:
    absent = diagnose(tmp_path / "absent")
    assert absent.state is State.ABSENT
    assert "which is `synth.duckdb`" in absent.sentences[0]
    assert diagnose(tmp_path).state is State.FOREIGN
    text = tmp_path / "text"
    for size in (1, 10_000):
        text.write_text("words\n" * size)
        sentences = diagnose(text)
        assert sentences.state is State.FOREIGN
        assert sentences.sentences[0].startswith(
            f"{text} is not a DuckDB file, and no log can be found in it: name "
        )
    refused = one_sentence(synth("doctor", "text", "--salvage", "new.duckdb", cwd=tmp_path), 5)
    assert "text is not a DuckDB file, and no log can be found in it" in refused
    assert not (tmp_path / "new.duckdb").exists()
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE accounts (id INTEGER)")
    assert diagnose(other).state is State.FOREIGN
    os.mkfifo(tmp_path / "pipe")
    assert diagnose(tmp_path / "pipe").state is State.FOREIGN
    done = synth("doctor", "s3://bucket/log", cwd=tmp_path)
    assert done.status == 5
    assert "is an address" in done.out


def test_a_log_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [3])
    script = (
        "import sys; from pathlib import Path; from synth.store.log.log import Log;"
        "log = Log(Path(sys.argv[1]), writer=True); print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LogHeld, match="is being written by another process"):
            diagnose(path)
    finally:
        holder.communicate("")


def test_rows_of_a_source_are_read_again_from_where_they_were_lost(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_text(
        "".join(f'{{"prompt": "Question {n}?", "completion": "Answer {n}."}}\n' for n in range(40))
    )
    (tmp_path / "x.recipe").write_text(SOURCE)
    plan = product.compile(tmp_path / "x.recipe")
    log = tmp_path / "log.duckdb"
    product.run(plan, log=tmp_path / "one.duckdb", simulate=True)
    (whole,) = product.materialize(plan, log=tmp_path / "one.duckdb", out=tmp_path)
    wanted = list(whole)
    with Log(tmp_path / "one.duckdb") as opened:
        told = (
            opened.cursor()
            .execute("SELECT seq, kind, run_id, ts_us, payload, sample_id FROM events ORDER BY seq")
            .fetchall()
        )
    with Log(log, writer=True) as opened:
        for seq, kind, run, ts, payload, sample in told:
            opened.append([Event(seq, Kind(kind), run, ts, json.loads(payload), sample)])
    with duckdb.connect(str(log)) as connection:
        connection.execute("UPDATE events SET ts_us = 1 WHERE seq = 20")
    new = tmp_path / "new.duckdb"
    kept = salvage(log, log, new)
    assert kept.sources == ("natural",)
    report = product.run(plan, log=new, simulate=True)
    assert (report.sources[0].rows, report.sources[0].new) == (40, kept.lost - 1)
    with pytest.warns(product.LogWarning, match="was salvaged"):
        (again,) = product.materialize(plan, log=new, out=tmp_path)
    assert list(again) == wanted


SOURCE = """\
edition 1
recipe x { seed = 1 }
source natural: messages from jsonl("chat.jsonl")
mix all {
  natural 100% from natural
}
export train: messages from all to "out/t"
"""


def test_nothing_can_be_had_of_a_log_of_which_no_batch_holds(tmp_path: Path) -> None:
    path = written(tmp_path / "log.duckdb", [1])
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE events SET step = 'other'")
    found = diagnose(path)
    assert found.salvage is None
    assert "nothing of" in found.sentences[1]
