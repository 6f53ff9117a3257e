"""A log under its witness: what is missing is told, and what becomes durable is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from synth.base.display import plural
from synth.base.errors import LogShort
from synth.store.log.events import Event, lost_events
from synth.store.log.witness.spent import Spent
from synth.store.log.witness.witness import (
    Loss,
    Position,
    Testimony,
    Witness,
    is_other,
    loss_of,
    read,
    seal_of,
    testify,
    witness_of,
)


class Watched:
    """What a log's witness saw and sees.  `path` is how messages name the log, `file` where it is.

    `notices` are sentences on what was found, `loss` what the log is short of.
    """

    def __init__(self, path: Path, file: Path) -> None:
        self.notices: list[str] = []
        self.loss: Loss | None = None
        self._path = path
        self._file = file
        # Before anything of it is read.
        self._seal = seal_of(file)
        self._place = witness_of(file)
        self._known = read(self._place)
        self._unread = self._known is None and self._place.exists()
        # What the log begins with, as far as the witness saw it.
        self._held: Testimony | None = None
        self._witness: Witness | None = None
        # What it was told last.
        self._last: Testimony | None = None
        self._spent = Spent()

    def gone(self) -> None:
        """There is no file."""
        if (seen := self._seen()) is not None:
            self.notices.append(
                f"the log that was at {self._path} is gone, and {seen.what} with it, says its witness: a new "
                "one is begun"
            )

    def unbegun(self) -> None:
        """There is a file with nothing in it."""
        self.loss = self._seen()

    def _seen(self) -> Loss | None:
        """All that the witness saw, where it saw anything."""
        if self._known is None or not self._known.position.events:
            return None
        return Loss(self._known.position.events, self._known.calls, self._known.cost)

    def compare(self, connection: duckdb.DuckDBPyConnection, position: Position) -> None:
        """There is a log."""
        if self._unread:
            self.notices.append(
                f"the witness of {self._path} cannot be read, so nobody can say whether events are missing"
            )
        elif self._known is None:
            return
        elif is_other(self._known, position):
            seen = plural(self._known.position.events, "event")
            self.notices.append(f"{self._path} is another log than the one of {seen} that its witness saw")
        elif (loss := loss_of(self._known, connection, position)) is not None:
            self.loss = loss
        else:
            self._held = self._known

    def require_all(self, accept_loss: bool) -> None:
        """Raises LogShort where events are missing and that is not accepted."""
        if self.loss is None:
            return
        if not accept_loss:
            raise LogShort(
                f"{self._path} is not what it was: {self.loss}; bring back the file and its write-ahead log, "
                f"or go on without that by --accept-loss (`synth doctor {self._path}` says more)"
            )
        self.notices.append(f"{self._path} goes on as it is: {self.loss}, and that is accepted")

    def tell_reader(self, connection: duckdb.DuckDBPyConnection, position: Position, *, deep: bool) -> None:
        """What a reader has to know.  A log without a witness gets one once all of it was looked at."""
        if deep and (lost := lost_events(connection)) > 0:
            self.notices.append(
                f"{self._path} was salvaged, and {plural(lost, 'event')} of it "
                f"{'is' if lost == 1 else 'are'} lost"
            )
        if self.loss is not None:
            self.notices.append(
                f"{self._path} is not what it was: {self.loss}; what it shows is without that"
            )
        elif deep and self._known is None and not self._unread and position.events:
            self._introduce(self._begin(connection, position))
            self.close()

    def keep(self, connection: duckdb.DuckDBPyConnection, position: Position) -> None:
        """From here on the witness sees what a writer appends."""
        new = self._known is None and not self._unread and position.events
        failure = self._begin(connection, position)
        if new or failure:
            self._introduce(failure)

    def saw(self, events: Sequence[Event], position: Position) -> None:
        """Some events are durable, the last of which are those."""
        self._spent.add(events)
        if self._witness is not None:
            self._last = Testimony(position, self._spent.calls, self._spent.cost)
            self._witness.tell(self._last)

    def is_as_left(self, position: Position) -> bool:
        """Whether a log is the very file that its last writer closed, all of which was looked at then or
        written since."""
        known = self._known
        return known is not None and known.seal == self._seal != "" and known.position == position

    def close(self) -> None:
        """The log is closed."""
        if self._witness is not None:
            if self._last is not None:
                self._witness.tell(replace(self._last, seal=seal_of(self._file)))
            self._witness.close()
            self._witness = self._last = None

    def _begin(self, connection: duckdb.DuckDBPyConnection, position: Position) -> str | None:
        """Writes the witness anew; returns what keeps it from being written."""
        testimony = testify(connection, position, self._held)
        self._spent = Spent(testimony.calls, testimony.cost)
        try:
            self._witness = Witness(self._place)
        except OSError as error:
            return error.strerror or "it cannot be written"
        self._witness.begin(testimony)
        self._last = testimony
        return None

    def _introduce(self, failure: str | None) -> None:
        fate = f"none can be kept ({self._place}: {failure})" if failure else "it gets one now"
        self.notices.append(
            f"{self._path} has no witness beside it, so nobody can say whether events are missing; {fate}"
        )
