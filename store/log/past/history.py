"""What the log already holds, as the runtime asks for it: finished samples and earlier calls."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import duckdb

from synth.compiler.plan.strata import Labels, sample_version
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.forgotten import forgotten_of, is_tombstone
from synth.store.log.log import Log
from synth.store.log.past.functions import FunctionResults, logged_result
from synth.store.log.past.logged import Ending, LoggedLookup, LoggedSample, logged_call
from synth.store.log.past.losses import loss_of
from synth.store.log.past.sample_ids import Finished, SampleIds
from synth.store.log.payloads import (
    EndedEitherWay,
    FunctionDone,
    RetrievalDone,
    SampleAbandoned,
    SampleCompleted,
    ToolDone,
)

# What is asked for again by its key.
_OF_SAMPLES = (
    Kind.CALL_COMPLETED.value,
    Kind.RETRIEVAL_DONE.value,
    Kind.FUNCTION_DONE.value,
    Kind.TOOL_DONE.value,
)


# Of a sample: its name as a number, and with the inputs that it is made of.
_NAME = "CAST('0x' || sample_id AS UBIGINT)"
_VERSION = f"xor({_NAME}, CAST('0x' || coalesce({payload_sql.INPUTS}, '0') AS UBIGINT))"


class History:
    """Questions to a log.  Uses a cursor of its own; call it from one thread at a time."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._cursor = log.cursor()
        # For what is asked from the event loop while a thread asks about calls.
        self._beside = log.cursor()
        self._forgotten = forgotten_of(self._cursor)
        self._called = self._ids(f"kind IN {_OF_SAMPLES}", [])

    def finished(
        self,
        config_hash: str,
        cohort: str = "",
        settings: Sequence[str] = (),
        *,
        retry_lost: bool = False,
        versions: bool = False,
    ) -> Finished:
        """Samples completed or abandoned under a lineage, by name; by `versions` where they are made of
        rows, as far as the log knows of the forgotten ones what they were made of.

        A loss binds where it was lasting, in a run in which something passed the step, and under one of
        some `settings` of the cohort's models; those of a run that did not say are taken to be among
        them.  With `retry_lost` none binds.
        """
        condition = f"kind = ? AND ({payload_sql.LINEAGE}) = ?"
        number = _VERSION if versions else _NAME
        completed, abandoned = (
            self._ids(condition, [kind.value, config_hash], number)
            for kind in (Kind.SAMPLE_COMPLETED, Kind.SAMPLE_ABANDONED)
        )
        unbound = abandoned
        if abandoned and not retry_lost:
            unbound = self._unbound(config_hash, cohort, settings, number)
        forgotten, lost = self._gone(config_hash, number)
        if lost:
            unbound = unbound.without(lost)
        if forgotten:
            completed = completed.joined(forgotten)
        return Finished(completed, abandoned, forgotten, unbound, partial(self._ordinals, config_hash))

    @property
    def forgotten_names(self) -> set[str]:
        """The samples that the log has forgotten, of all lineages."""
        return {name for config_hash in self._forgotten.config_hashes.values() for name in config_hash}

    def forgotten(self, config_hash: str, *, versions: bool = False) -> Finished:
        """The samples of a lineage that the log has forgotten, as they had ended, told as `finished` does."""
        gone, lost = self._gone(config_hash, _VERSION if versions else _NAME)
        return Finished(gone, lost, gone, ordinals=partial(self._ordinals, config_hash))

    def _gone(self, config_hash: str, number: str) -> tuple[SampleIds, SampleIds]:
        """The forgotten samples of a lineage: the lost ones, and all others."""
        of = self._forgotten.of
        if number == _NAME or not self._forgotten.events:
            names = of(config_hash, "completed", "hidden", "pending"), of(config_hash, "abandoned")
            return SampleIds.of(names[0]), SampleIds.of(names[1])
        # The tombstone of an end says what the sample was made of: of a row that was mended since, another
        # sample is made.
        condition = f"kind = ? AND ({payload_sql.LINEAGE}) = ? AND ({payload_sql.FORGOTTEN}) IS NOT NULL"
        completed, abandoned = (
            self._ids(condition, [kind.value, config_hash], number)
            for kind in (Kind.SAMPLE_COMPLETED, Kind.SAMPLE_ABANDONED)
        )
        return completed.joined(SampleIds.of(of(config_hash, "hidden", "pending"))), abandoned

    def _unbound(self, config_hash: str, cohort: str, settings: Sequence[str], number: str) -> SampleIds:
        """The samples whose last loss does not bind."""
        return self._numbers(
            f"""SELECT number FROM (
                   SELECT number, arg_max(free, seq) AS free FROM (
                       SELECT {number} AS number, lost.seq,
                              ({payload_sql.LASTING}) = 'false'
                              OR coalesce(others.run_id IS NOT NULL, false)
                              OR coalesce(list_contains(stuck.steps, lost.step), false) AS free
                       FROM events AS lost
                       LEFT JOIN (SELECT run_id FROM events WHERE kind = ? AND {bool(settings)}
                                  AND ({payload_sql.SETTINGS} ->> ?) IS NOT NULL
                                  AND NOT list_contains(?, {payload_sql.SETTINGS} ->> ?)
                                  ) AS others USING (run_id)
                       LEFT JOIN (SELECT run_id, list(step) AS steps FROM (
                                      SELECT run_id, unnest(CAST(each -> 'lost_at' AS VARCHAR[])) AS step
                                      FROM (SELECT run_id, unnest(CAST({payload_sql.STUCK} AS JSON[])) AS each
                                            FROM events WHERE kind = ?
                                            AND ({payload_sql.STUCK}) IS NOT NULL)
                                      WHERE (each ->> 'cohort') = ?)
                                  GROUP BY run_id) AS stuck USING (run_id)
                       WHERE lost.kind = ? AND ({payload_sql.LINEAGE}) = ?)
                   GROUP BY number)
               WHERE free ORDER BY number""",
            [
                Kind.RUN_STARTED.value,
                cohort,
                list(settings),
                cohort,
                Kind.RUN_STOPPED.value,
                cohort,
                Kind.SAMPLE_ABANDONED.value,
                config_hash,
            ],
        )

    def _ordinals(self, config_hash: str) -> dict[Labels, int]:
        rows = self._beside.execute(
            f"""SELECT CAST({payload_sql.CELL} AS VARCHAR), max(CAST({payload_sql.ORDINAL} AS BIGINT))
               FROM events WHERE kind IN (?, ?) AND ({payload_sql.LINEAGE}) = ? GROUP BY 1""",
            [Kind.SAMPLE_COMPLETED.value, Kind.SAMPLE_ABANDONED.value, config_hash],
        )
        return {tuple(sorted(json.loads(cell).items())): ordinal for cell, ordinal in _stream(rows)}

    def knows(self, sample_id: str) -> bool:
        """Whether any call or retrieval of a sample is in the log."""
        return sample_id in self._called

    def calls(self, sample_ids: Iterable[str], config_hash: str | None = None) -> dict[str, LoggedSample]:
        """What the log holds of some samples; the first call of a key counts, and the last of what
        was looked up.  They were lost as samples of a lineage."""
        wanted = [sample_id for sample_id in sample_ids if sample_id in self._called]
        samples: dict[str, LoggedSample] = {}
        if not wanted:
            return samples
        rows = self._cursor.execute(
            f"""SELECT sample_id, kind, seq, step, attempt, prompt_tokens, completion_tokens, payload
                FROM events WHERE (kind IN {_OF_SAMPLES}
                    OR kind = '{Kind.SAMPLE_ABANDONED.value}' AND ({payload_sql.LINEAGE}) = ?)
                AND sample_id IN (SELECT unnest(?)) ORDER BY seq""",
            [config_hash, wanted],
        )
        for sample_id, kind, seq, step, attempt, prompt_tokens, completion_tokens, text in _stream(rows):
            sample, payload = samples.setdefault(sample_id, LoggedSample()), json.loads(text)
            if is_tombstone(payload):
                continue
            if kind == Kind.SAMPLE_ABANDONED.value:
                abandoned: SampleAbandoned = payload
                sample.lost.append(loss_of(abandoned))
            elif kind == Kind.FUNCTION_DONE.value:
                done: FunctionDone = payload
                sample.results.setdefault(done["key"], []).append(logged_result(seq, done))
            elif kind == Kind.TOOL_DONE.value:
                answered: ToolDone = payload
                sample.tools[answered["key"]] = answered
            elif kind == Kind.RETRIEVAL_DONE.value:
                lookup: RetrievalDone = payload
                key = lookup["key"]
                sample.lookups[key] = LoggedLookup(key, lookup["index"]["digest"], lookup["chunks"])
            else:
                call = logged_call(seq, step, attempt, prompt_tokens, completion_tokens, payload)
                sample.calls.setdefault(call.call_key, call)
        return samples

    def values(
        self, config_hash: str, versions: SampleIds | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Sample id and accepted values by step of every completed sample of a lineage, in order; of those
        alone that are among some versions, where they are given."""
        rows = self._cursor.execute(
            f"""SELECT sample_id, payload FROM events WHERE kind = '{Kind.SAMPLE_COMPLETED.value}'
                AND ({payload_sql.LINEAGE}) = ? ORDER BY seq""",
            [config_hash],
        )
        for sample_id, text in _stream(rows):
            payload: SampleCompleted = json.loads(text)
            if is_tombstone(payload):
                continue
            version = sample_version(sample_id, payload.get("inputs", ""))
            if versions is None or version in versions:
                yield sample_id, payload["values"]

    def endings(
        self, config_hash: str, sample_ids: Iterable[str], cursor: duckdb.DuckDBPyConnection | None = None
    ) -> dict[str, Ending]:
        """How samples ended under a lineage, each the last time, by version; nothing of those that are
        forgotten.  From another thread it takes a `cursor`."""
        rows = (cursor or self._cursor).execute(
            f"""SELECT sample_id, kind, seq, run_id, step, payload FROM events
                WHERE kind IN ('{Kind.SAMPLE_COMPLETED.value}', '{Kind.SAMPLE_ABANDONED.value}')
                AND sample_id IN (SELECT unnest(?)) AND ({payload_sql.LINEAGE}) = ? ORDER BY seq""",
            [list(sample_ids), config_hash],
        )
        endings: dict[str, Ending] = {}
        for sample_id, kind, seq, run_id, step, text in _stream(rows):
            payload: EndedEitherWay = json.loads(text)
            if is_tombstone(payload):
                continue
            endings[sample_version(sample_id, payload.get("inputs", ""))] = Ending(
                seq,
                run_id,
                step,
                payload["values"] if kind == Kind.SAMPLE_COMPLETED.value else None,
                payload.get("thoughts", {}),
                payload.get("reason", ""),
                payload.get("inputs", ""),
                payload.get("attempts", {}),
            )
        return endings

    def rules(self) -> dict[str, dict[str, Any] | None]:
        """What each run recorded of how answers are judged, by its id; None where it did not."""
        rows = self._cursor.execute(
            f"SELECT run_id, CAST({payload_sql.ANSWERS} AS VARCHAR) FROM events WHERE kind = ?",
            [Kind.RUN_STARTED.value],
        )
        return {run_id: None if text is None else json.loads(text) for run_id, text in _stream(rows)}

    def function_results(self) -> FunctionResults:
        """What functions gave, for whichever sample.  May be asked from any thread."""
        return FunctionResults(self.log.cursor())

    def answered(self, model: str, backend: str, id_: str) -> bool:
        """Whether a model has answered any call while it ran there.  May be asked from any thread."""
        rows = self.log.cursor().execute(
            f"""SELECT 1 FROM events WHERE kind = ? AND model = ?
               AND ({payload_sql.IDENTITY_BACKEND}) = ? AND ({payload_sql.IDENTITY_ID}) = ? LIMIT 1""",
            [Kind.CALL_COMPLETED.value, model, backend, id_],
        )
        return rows.fetchone() is not None

    def mean_tokens(self, step: str, model: str, identity: Mapping[str, Any]) -> tuple[float, float] | None:
        """Mean prompt and completion tokens of a step's calls that a model answered where it runs now,
        or None where there are none: those of a simulation say nothing of it."""
        rows = self._cursor.execute(
            f"""SELECT CAST({payload_sql.IDENTITY} AS VARCHAR), count(*), sum(prompt_tokens),
               sum(completion_tokens) FROM events WHERE kind = ? AND step = ? AND model = ? GROUP BY 1""",
            [Kind.CALL_COMPLETED.value, step, model],
        ).fetchall()
        same = [row for row in rows if row[0] is not None and json.loads(row[0]) == identity]
        calls = sum(row[1] for row in same)
        return (sum(row[2] for row in same) / calls, sum(row[3] for row in same) / calls) if calls else None

    def _ids(self, condition: str, parameters: list[str], number: str = _NAME) -> SampleIds:
        return self._numbers(
            f"SELECT DISTINCT {number} AS number FROM events WHERE {condition} ORDER BY number", parameters
        )

    def _numbers(self, query: str, parameters: Sequence[Any]) -> SampleIds:
        rows = self._cursor.execute(query, list(parameters))
        numbers = array("Q")
        while chunk := rows.fetchmany(65_536):
            numbers.extend(row[0] for row in chunk)
        return SampleIds(numbers)


def _stream(rows: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := rows.fetchmany(4096):
        yield from chunk
