"""Results of functions in the log, whichever sample they were made for."""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.forgotten import is_tombstone
from synth.store.log.payloads import FunctionDone


@dataclass(frozen=True, slots=True)
class LoggedResult:
    """What a function gave, or the fault that it ended with.  `files` are the contents of those that it was
    given, as sha256 by path."""

    seq: int
    value: Any
    fault: str | None
    lasting: bool
    files: Mapping[str, str | None]
    simulated: bool


def logged_result(seq: int, payload: FunctionDone) -> LoggedResult:
    return LoggedResult(
        seq,
        payload.get("result"),
        payload.get("fault"),
        payload.get("lasting", True),
        payload.get("files", {}),
        payload.get("simulated", False),
    )


class FunctionResults:
    """Finds what functions gave in earlier runs.  It knows sixteen bytes of each, and only once it is
    asked."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self.is_read = False
        self._keys = array("Q")
        self._seqs = array("Q")
        self._lock = threading.Lock()

    def find(self, key: str, files: Mapping[str, str | None]) -> LoggedResult | None:
        """The result of a call, by its key and the files that it is given.  Simulations and what another
        try may not end with count for nothing."""
        with self._lock:
            keys, number = self._keys, int(key[:16], 16)
            at = bisect_left(keys, number)
            while at < len(keys) and keys[at] == number:
                logged = self._at(self._seqs[at], key)
                if logged is not None and logged.files == files and logged.lasting and not logged.simulated:
                    return logged
                at += 1
            return None

    def may_have(self, key: str) -> bool:
        """Whether a result of a call with this key can be there.  May be asked from any thread."""
        at, number = bisect_left(self._keys, int(key[:16], 16)), int(key[:16], 16)
        return at < len(self._keys) and self._keys[at] == number

    def read(self) -> None:
        """Takes note of what is there; before that nothing is found."""
        with self._lock:
            if not self.is_read:
                self._read()
                self.is_read = True

    def _read(self) -> None:
        rows = self._cursor.execute(
            f"""SELECT CAST('0x' || left({payload_sql.KEY}, 16) AS UBIGINT) AS number, seq FROM events
                WHERE kind = ? AND ({payload_sql.KEY}) IS NOT NULL ORDER BY number, seq""",
            [Kind.FUNCTION_DONE.value],
        )
        while chunk := rows.fetchmany(10_000):
            self._keys.extend(number for number, _ in chunk)
            self._seqs.extend(seq for _, seq in chunk)

    def _at(self, seq: int, key: str) -> LoggedResult | None:
        (text,) = self._cursor.execute("SELECT payload FROM events WHERE seq = ?", [seq]).fetchone() or (
            "{}",
        )
        payload: FunctionDone = json.loads(text)
        if is_tombstone(payload) or payload.get("key") != key:
            return None
        return logged_result(seq, payload)
