"""What Python functions said of a source's rows, as its `keep` asks them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from synth.base.canonical import digest
from synth.base.errors import QuotaShort
from synth.compiler.plan.conditions import there
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.plan.model import Plan, SourcePlan
from synth.compiler.plan.steps import CheckPlan, RefPlan
from synth.compiler.stdlib.verdict import parts_of
from synth.store.log import payload_sql
from synth.store.log.events import Kind

# The step under which such calls are logged.
STEP = "keep"


def call_key(function: FunctionPlan, arguments: Mapping[str, Any]) -> str:
    """sha256 of a function's source and the arguments of a call, in hex."""
    return digest([function.source, function.function, dict(arguments)])


def calls_of(
    check: CheckPlan, function: FunctionPlan, value: Any, values: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The arguments of all calls that judge a row: one, or one for each item of a list.  What is absent
    passes."""
    arguments = {
        name: there(argument.path, values) if isinstance(argument, RefPlan) else argument
        for name, argument in check.arguments.items()
    }
    first = function.parameters[0]
    if first.name in arguments:
        if arguments[first.name] is not None or first.type.optional:
            yield arguments
        return
    for part in parts_of(value, check.of):
        yield {first.name: part, **arguments}


class Verdicts:
    """Whether rows passed functions, by the key of the call: nine bytes each.  The last result counts, and
    what a simulation made up only where there is no other.  Of the first `events` events of a log."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, events: int) -> None:
        self._keys, self._passes = array("Q"), bytearray()
        rows = cursor.execute(
            f"""SELECT CAST('0x' || left({payload_sql.KEY}, 16) AS UBIGINT) AS number,
                       arg_max(({payload_sql.RESULT}) IS NULL AND ({payload_sql.FAULT}) IS NULL,
                               seq + CASE WHEN ({payload_sql.SIMULATED}) = 'true' THEN 0 ELSE ? END)
                FROM events WHERE kind = ? AND seq < ? AND step = ? AND ({payload_sql.KEY}) IS NOT NULL
                GROUP BY number ORDER BY number""",
            [events, Kind.FUNCTION_DONE.value, events, STEP],
        )
        while some := rows.fetchmany(65_536):
            self._keys.extend(number for number, _ in some)
            self._passes.extend(passes for _, passes in some)

    def passes(self, key: str) -> bool | None:
        """Whether a call let its row through; None where nobody knows."""
        number = int(key[:16], 16)
        at = bisect_left(self._keys, number)
        if at == len(self._keys) or self._keys[at] != number:
            return None
        return bool(self._passes[at])


class FunctionGate:
    """The functions of a source's `keep`, as a log has what they gave.  With `foreseen`, a row of which it
    knows nothing passes; else that raises QuotaShort."""

    def __init__(self, plan: Plan, source: SourcePlan, verdicts: Verdicts | None, foreseen: bool) -> None:
        self._plan, self._source, self._verdicts, self._foreseen = plan, source, verdicts, foreseen

    def refuses(self, check: CheckPlan, value: Any, values: Mapping[str, Any]) -> bool:
        """Whether a row fails a check that a function is."""
        function = self._plan.function(check)
        for arguments in calls_of(check, function, value, values):
            passes = None if self._verdicts is None else self._verdicts.passes(call_key(function, arguments))
            if passes is None and not self._foreseen:
                raise QuotaShort(
                    f"the log does not have what `{check.name}` says of the rows of `{self._source.name}`: "
                    "`synth run` it first"
                )
            if passes is False:
                return True
        return False
