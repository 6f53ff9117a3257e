"""What state a log is in, found without writing anything beside it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from synth.base.display import plural
from synth.base.errors import LogDamaged, LogError, LogHeld
from synth.store.log import payload_sql
from synth.store.log.chain import first_fault
from synth.store.log.connection import attached, has_tables
from synth.store.log.damage import explain, place
from synth.store.log.events import OF_NO_RUN, SCHEMA_VERSION, Kind, lost_events
from synth.store.log.location import HEADER, Found, look, real, wal_of
from synth.store.log.wal import broken_at, is_of_another
from synth.store.log.witness.spent import spent_from
from synth.store.log.witness.witness import (
    Loss,
    Position,
    Testimony,
    is_other,
    loss_of,
    position_of,
    read,
    witness_of,
)
from synth.store.rescue.salvage import Salvaged, survey

# What else to give the command, and the advice to those who meant to write a log.
_NAME_IT = "name the file that `synth run` wrote, which is `synth.duckdb` where it was given no --log"
_ADVICE = re.compile("[:;] `--log` names .*")


class State(StrEnum):
    """`healthy`; `short` of events that its witness saw; `other` than what its witness saw; `damaged`;
    `unbegun`, since a kill came while it was being made; `absent`; `foreign`, and no log of ours."""

    HEALTHY = "healthy"
    SHORT = "short"
    OTHER = "other"
    DAMAGED = "damaged"
    UNBEGUN = "unbegun"
    ABSENT = "absent"
    FOREIGN = "foreign"


@dataclass(slots=True)
class Diagnosis:
    """`said` are sentences, the first of which is the state; `facts` are figures and versions by name.
    `salvage` is what a salvage would come to, where something is damaged."""

    state: State
    sentences: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    salvage: Salvaged | None = None


def diagnose(path: Path) -> Diagnosis:
    """Raises LogHeld while a process writes the log."""
    file = real(path)
    try:
        file_state = look(path)
    except LogError as error:
        return _of_no_database(path, file, error)
    if file_state is Found.NOTHING:
        if wal_of(file).exists():
            return Diagnosis(
                State.DAMAGED,
                [
                    f"the file {path} is gone, and its write-ahead log {wal_of(file)} is still there: "
                    "bring it back"
                ],
            )
        return _with_loss(Diagnosis(State.ABSENT, [f"there is no log at {path}: {_NAME_IT}"]), file)
    with holding(path, file):
        if file_state is Found.UNBEGUN:
            return _unbegun(path, file)
        try:
            return _examine(path, file)
        except duckdb.Error as error:
            problem = explain(path, error)
            if not isinstance(problem, LogDamaged):
                raise problem from None
            return _damaged(path, file, place(error))


@contextmanager
def holding(path: Path, file: Path) -> Iterator[None]:
    """Nobody writes the log meanwhile.  Raises LogHeld where somebody does."""
    try:
        with file.open("rb") as handle:
            fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise LogHeld(
            f"{path} is being written by another process: wait until it ends, or stop it; `synth status` "
            "shows how far it is"
        ) from None
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}") from None


def _of_no_database(path: Path, file: Path, error: LogError) -> Diagnosis:
    """It may have been a log whose first bytes were altered."""
    if "is not a DuckDB file" in str(error):
        if path.stat().st_size > 3 * HEADER:
            diagnosis = _damaged(path, file, "its beginning is not that of a database")
            if diagnosis.salvage is not None:
                return diagnosis
        return _foreign(f"{path} is not a DuckDB file, and no log can be found in it")
    return _foreign(str(error))


def _foreign(sentence: str) -> Diagnosis:
    """Of what is no log at all; where a run is to write its own is no advice here."""
    return Diagnosis(State.FOREIGN, [f"{_ADVICE.sub('', sentence)}: {_NAME_IT}"])


def _unbegun(path: Path, file: Path) -> Diagnosis:
    return _with_loss(
        Diagnosis(
            State.UNBEGUN,
            [f"{path} holds nothing, as after a kill while it was being made: `synth run` begins it again"],
        ),
        file,
    )


def _with_loss(diagnosis: Diagnosis, file: Path) -> Diagnosis:
    """What a witness saw of a log of which nothing is left."""
    known = read(witness_of(file))
    if known is not None and known.position.events:
        diagnosis.sentences.append(
            f"{Loss(known.position.events, known.calls, known.cost)}: bring the file back"
        )
        diagnosis.state = State.SHORT if diagnosis.state is State.UNBEGUN else diagnosis.state
    return diagnosis


def _examine(path: Path, file: Path) -> Diagnosis:
    connection = attached(file, "READ_ONLY")
    try:
        if (at := broken_at(file)) is not None:
            return _damaged(path, file, f"its write-ahead log is not as it was written at byte {at:,}")
        try:
            if not has_tables(connection, path):
                return _unbegun(path, file)
        except LogError as error:
            return _foreign(str(error))
        fault = first_fault(connection, deep=True)
        if fault is None:
            return _whole(path, file, connection)
    finally:
        connection.close()
    return _damaged(path, file, f"batch {fault[0]} does not hold: {fault[1]}")


def _whole(path: Path, file: Path, connection: duckdb.DuckDBPyConnection) -> Diagnosis:
    """Every batch holds: what is left to ask is whether there were more."""
    position, known = position_of(connection), read(witness_of(file))
    diagnosis = Diagnosis(State.HEALTHY, [], _facts(file, connection))
    newer = connection.execute("SELECT max(schema_version) FROM events").fetchone()
    if newer is not None and (newer[0] or 0) > SCHEMA_VERSION:
        diagnosis.sentences.append(
            "some of its events are of a later version of synth, which may know more of them"
        )
    if (lost := lost_events(connection)) > 0:
        diagnosis.sentences.append(
            f"it was salvaged: {lost:,} of its events {'was' if lost == 1 else 'were'} lost, and "
            "`event.lost` stands in the place of each"
        )
    if known is None:
        there = "cannot be read" if witness_of(file).exists() else "is not there"
        diagnosis.sentences.append(
            f"its witness {there}, so nobody can say whether events are missing at its end"
        )
    elif is_other(known, position):
        diagnosis.state = State.OTHER
        diagnosis.sentences.append(
            f"its witness saw another log, of {plural(known.position.events, 'event')}: this one was put in "
            "its place"
        )
    elif (loss := loss_of(known, connection, position)) is not None:
        diagnosis.state = State.SHORT
        diagnosis.sentences += [
            str(loss),
            "bring back the file and its write-ahead log, or go on without that by `synth run --accept-loss`",
        ]
    word = "is healthy" if diagnosis.state is State.HEALTHY else "holds, as far as it goes"
    diagnosis.sentences.insert(0, f"{path} {word}: {_size(position)}")
    wal = wal_of(file)
    if wal.is_file() and wal.stat().st_size and is_of_another(file):
        diagnosis.sentences.append(
            f"{wal.name} beside it is no write-ahead log of it, and nothing of that is read"
        )
    return diagnosis


def _damaged(path: Path, file: Path, where: str) -> Diagnosis:
    diagnosis = Diagnosis(State.DAMAGED, [f"{path} is damaged: {where}"])
    alone = _alone(path, file)
    try:
        kept = survey(path, file)
    except LogDamaged as error:
        diagnosis.sentences.append(str(error))
        return diagnosis
    diagnosis.salvage = kept
    if alone is not None and alone.facts["events"] == kept.first and not kept.behind:
        diagnosis.facts = alone.facts
        diagnosis.sentences += _without_wal(wal_of(file), alone, read(witness_of(file)))
        return diagnosis
    diagnosis.sentences.append(summary(kept))
    if (known := read(witness_of(file))) is not None:
        missing = known.position.events - kept.first - kept.behind
        if missing > 0:
            diagnosis.sentences.append(
                f"of the {plural(known.position.events, 'event')} that its witness saw, {missing:,} cannot "
                "be had"
            )
    diagnosis.sentences.append(f"`synth doctor {path} --salvage NEW` writes what can be had to a new log")
    return diagnosis


def _alone(path: Path, file: Path) -> Diagnosis | None:
    """What a file is without the write-ahead log beside it, where that is what keeps it from being read."""
    if not os.path.lexists(wal_of(file)):
        return None
    with TemporaryDirectory(prefix="synth-doctor-") as folder:
        copy = Path(folder) / "log.duckdb"
        shutil.copyfile(file, copy)
        with suppress(OSError):
            shutil.copyfile(witness_of(file), witness_of(copy), follow_symlinks=False)
        with suppress(duckdb.Error, LogError):
            diagnosis = _examine(path, copy)
            return diagnosis if diagnosis.state in (State.HEALTHY, State.SHORT, State.OTHER) else None
    return None


def _without_wal(wal: Path, alone: Diagnosis, known: Testimony | None) -> list[str]:
    """What there is to say of a log that is whole without the write-ahead log beside it."""
    whole = f"without {wal.name} the file is whole, with {plural(alone.facts['events'], 'event')}"
    there = f"nothing can be had of {wal}"
    if alone.state is State.HEALTHY and known is not None:
        return [f"{whole}, and its witness saw no more", f"{there}: move it away, and go on with the log"]
    if alone.state is State.HEALTHY:
        return [
            f"{whole}; it has no witness, so nobody can say whether it had more",
            f"{there}: bring back the one that belongs to the file, or move this one away and go on",
        ]
    return [
        f"{whole}; {alone.sentences[1]}",
        f"{there}: bring back the one that belongs to the file, or move this one away and go on by "
        "`synth run --accept-loss`",
    ]


def _size(position: Position) -> str:
    batches = f"{position.batches:,} {'batch' if position.batches == 1 else 'batches'}"
    return f"{plural(position.events, 'event')} in {batches}"


def summary(kept: Salvaged) -> str:
    """What a salvage comes to, in a sentence."""
    words = [f"{plural(kept.first, 'event')} can be had from its beginning on"]
    if kept.behind:
        are = "is" if kept.lost == 1 else "are"
        words.append(f"{kept.behind:,} more behind {kept.lost:,} that {are} lost")
    if kept.sources:
        names = ", ".join(f"`{name}`" for name in kept.sources)
        words.append(f"rows of {names} are to be read again from their files")
    return "; ".join(words) + "".join(f"; {repair}" for repair in kept.repairs)


def _facts(file: Path, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    (events, runs, first, last) = connection.execute(
        """SELECT count(*), count(DISTINCT run_id) FILTER (kind NOT IN (SELECT unnest(?))),
                  min(ts_us), max(ts_us) FROM events""",
        [OF_NO_RUN],
    ).fetchall()[0]
    rows = connection.execute(
        f"SELECT CAST({payload_sql.VERSIONS} AS VARCHAR) FROM events WHERE kind = ? ORDER BY seq",
        [Kind.RUN_STARTED.value],
    ).fetchall()
    versions = [json.loads(text) for (text,) in rows if text not in (None, "null")]
    spent = spent_from(connection, 0)
    return {
        "events": events,
        "runs": runs,
        "answers": spent.calls,
        **({"cost": round(spent.cost, 6)} if spent.cost else {}),
        **({"from": _time(first), "to": _time(last)} if events else {}),
        "bytes": file.stat().st_size,
        **{
            name: sorted({entry[name] for entry in versions if name in entry}) for name in ("synth", "duckdb")
        },
    }


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
