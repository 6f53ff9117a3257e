"""The log: one DuckDB file, appended to by one process, a transaction for each batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from synth.base.canonical import canonical_json
from synth.base.errors import LogDamaged, LogError, LogFull, LogHeld
from synth.store.log.chain import GENESIS, batch_hash, first_fault
from synth.store.log.connection import attach, attach_for_writing, has_tables, require_file
from synth.store.log.damage import damaged, is_damage, place, reason
from synth.store.log.events import SCHEMA_VERSION, EncodedPayload, Event
from synth.store.log.location import Found, look, real
from synth.store.log.wal import broken_at
from synth.store.log.witness.watched import Watched
from synth.store.log.witness.witness import Loss, Position, position_of


class Log:
    """An open log.  Opening checks numbering, counts and links; `deep` hashes every event again, but not
    of a file that nobody wrote to since a writer closed it, unless it is told not to `trust` that.

    Use it as a context manager.  `writer` logs are created when absent and held exclusively;
    readers can share a file that no process writes.  What is found is compared with the log's
    witness: a writer refuses a log that is short of events unless it is told to `accept_loss`.
    `notices` are the sentences that whoever opened it should read; `loss` is what was accepted.

    Raises LogHeld, LogDamaged, LogShort or LogError, and then nothing was written.
    """

    def __init__(
        self,
        path: Path,
        *,
        writer: bool = False,
        deep: bool = True,
        trust: bool = True,
        accept_loss: bool = False,
    ) -> None:
        self.path = path
        self._file = real(path)
        self._watched = Watched(path, self._file)
        self._appender: Any = None
        self.next_seq, self.next_batch, self.head, self._first = 0, 0, GENESIS, ""
        state = look(path)
        try:
            if state is Found.DATABASE:
                # Also by a writer: what is not ours, is damaged or is short of events is not touched.
                self._connection = attach(path, self._file)
                if (at := broken_at(self._file)) is not None:
                    raise damaged(path, f"its write-ahead log is not as it was written at byte {at:,}")
                if not self._examine(deep, trust):
                    state = Found.UNBEGUN
            elif state is Found.NOTHING:
                require_file(path, self._file)
            if state is Found.UNBEGUN:
                self._watched.unbegun()
            elif state is Found.NOTHING:
                self._watched.gone()
            if writer:
                self._watched.require_all(accept_loss)
                self._begin(state)
            elif state is Found.DATABASE:
                self._watched.tell_reader(self._connection, self._position, deep=deep)
            else:
                raise LogError(self._nothing(state))
        except BaseException:
            self.close()
            raise

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._watched.notices)

    @property
    def loss(self) -> Loss | None:
        return self._watched.loss

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is not None and is_damage(error):
            raise damaged(self.path, place(error)) from None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same database, for another thread or a long query."""
        cursor = self._connection.cursor()
        cursor.execute("USE log")
        return cursor

    def append(self, *batches: Sequence[Event]) -> None:
        """Commits events as batches, all in one transaction.  When this returns they are durable.

        Raises LogFull when they could not be committed; then none of them is in the log.
        """
        rows, entries, head = list[tuple[Any, ...]](), list[tuple[Any, ...]](), self.head
        for events in filter(None, batches):
            if events[0].seq != self.next_seq + len(rows):
                raise LogError(f"event {events[0].seq} does not follow event {self.next_seq + len(rows) - 1}")
            number = self.next_batch + len(entries)
            batch = [_row(event, number) for event in events]
            digest = batch_hash(head, batch)
            entries.append((number, len(batch), batch[0][0], head, digest))
            rows += batch
            head = digest
        if not entries:
            return
        try:
            self._commit(rows, entries)
        except duckdb.Error as error:
            # COMMIT may raise although it is durable (a failed checkpoint after it): only the file
            # knows.
            self._reopen()
            if self.head != head:
                raise LogFull(
                    f"{self.path}: the log cannot be written ({reason(error)}); "
                    f"{self.next_seq} events are safe: make room and run again"
                ) from None
        else:
            self.next_seq += len(rows)
            self.next_batch += len(entries)
            self.head = head
            self._first = self._first or entries[0][-1]
        self._watched.saw([event for events in batches for event in events], self._position)

    def close(self) -> None:
        """Closes the file; a checkpoint that fails for want of room loses nothing."""
        self._disconnect()
        self._watched.close()

    def _commit(self, rows: list[tuple[Any, ...]], entries: list[tuple[Any, ...]]) -> None:
        connection = self._connection
        assert self._appender is not None, "only a writer appends"
        connection.execute("BEGIN")
        try:
            self._appender.append_rows(rows)
            self._appender.flush()
            connection.execute(
                f"INSERT INTO batches VALUES {', '.join(['(?, ?, ?, ?, ?)'] * len(entries))}",
                [value for entry in entries for value in entry],
            )
            connection.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT there may be no transaction left to roll back.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            # What did not go in must not go in with the next batch.
            self._appender.clear()
            raise

    @property
    def _position(self) -> Position:
        return Position(self.next_seq, self.next_batch, self.head, self._first)

    def _examine(self, deep: bool, trust: bool) -> bool:
        """Looks at what is attached for reading; False where nothing is in it."""
        try:
            if not has_tables(self._connection, self.path):
                return False
            self._find_position()
            seen = trust and self._watched.is_as_left(self._position)
            fault = first_fault(self._connection, deep=deep and not seen)
        except duckdb.Error as error:
            raise damaged(self.path, place(error)) from None
        if fault is not None:
            raise LogDamaged(
                f"{self.path}: batch {fault[0]} does not hold: {fault[1]}; `synth doctor {self.path}` says "
                "what of it can be had, and with --salvage NEW writes that to a new log"
            )
        self._watched.compare(self._connection, self._position)
        return True

    def _nothing(self, state: Found) -> str:
        if state is Found.UNBEGUN:
            why = (
                f": {self._watched.loss}"
                if self._watched.loss
                else ", as after a kill while it was being made"
            )
            return (
                f"{self.path} is not a synth log yet: it holds nothing{why}; `synth run` begins it, and "
                f"`synth doctor {self.path}` says more"
            )
        gone = " any more, says its witness" if self._watched.notices else ""
        return f"there is no log at {self.path}{gone}: `synth run` makes one, `--log` names another"

    def _begin(self, state: Found) -> None:
        """Goes on from reading to writing."""
        seen = self._position
        self._disconnect()
        self._connect(state)
        self._find_position()
        if self._position != seen:
            raise LogHeld(f"{self.path} was written by another process meanwhile: run again")
        self._watched.keep(self._connection, seen)

    def _connect(self, state: Found = Found.DATABASE) -> None:
        self._connection = attach_for_writing(self.path, self._file, state)
        # Made once: making one for each batch takes a fifth of a small batch's time.
        self._appender = self._connection.appender("events")

    def _disconnect(self) -> None:
        # An appender that is left over would keep the file open.
        self._appender = None
        with suppress(duckdb.Error, AttributeError):
            self._connection.close()

    def _reopen(self) -> None:
        self._disconnect()
        self._connect()
        self._find_position()

    def _find_position(self) -> None:
        position = position_of(self._connection)
        self.next_seq, self.next_batch = position.events, position.batches
        self.head, self._first = position.head, position.log


def _row(event: Event, batch: int) -> tuple[Any, ...]:
    seq, kind, run, ts_us, payload, sample, step, attempt, model, prompt, completion, latency = event
    return (
        seq,
        batch,
        # Unique over all logs.
        f"{run}.{seq}",
        run,
        sample,
        step,
        attempt,
        kind._value_,
        SCHEMA_VERSION,
        ts_us,
        model,
        prompt,
        completion,
        latency,
        payload.text if isinstance(payload, EncodedPayload) else canonical_json(payload),
    )
