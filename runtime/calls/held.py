"""The rows of sources that checks compare values with, as the log has them when a run begins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.plan.model import CheckPlan, Plan
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.verdict import parts_of
from synth.runtime.calls.attempt import Rows, Unheld
from synth.store.dataset.inputs.over_table import Tables

# A source, the path of a field, and the similarity.
_Key = tuple[tuple[str, ...], float]


class HeldRows:
    """An index for each field that checks of a plan compare with; `read` fills them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._indexes: dict[_Key, NearDuplicates] = {}

    def read(self, tables: Tables) -> None:
        """Reads the rows that pass each source's `keep`.  Raises QuotaShort where none were read."""
        wanted: dict[str, dict[_Key, NearDuplicates]] = {}
        for check in self._plan.comparing:
            key = _key(check)
            wanted.setdefault(check.against[0], {})[key] = NearDuplicates(key[1])
        for source, indexes in wanted.items():
            for name, values in tables.rows(source):
                for (path, _), index in indexes.items():
                    for part in parts_of(values, path[1:]):
                        index.keep(name, _text(part))
            self._indexes |= indexes

    def reason(self, check: CheckPlan, value: Any) -> str | None:
        """Why a value does not differ from each row, or None."""
        path, _ = key = _key(check)
        index = self._indexes[key]
        for part in parts_of(value, check.of):
            found = index.find(_text(part))
            if found is not None:
                name, alike = found
                return f"is {alike:.0%} like `{'.'.join(path[1:])}` of {quoted(name)} in `{path[0]}`"
        return None


async def read_held(plan: Plan, tables: Tables | None) -> Rows:
    """The rows that checks of a plan compare with, read from the log.  Raises QuotaShort as `read` does."""
    if not plan.comparing:
        return Unheld()
    assert tables is not None
    held = HeldRows(plan)
    await asyncio.to_thread(held.read, tables)
    return held


def _key(check: CheckPlan) -> _Key:
    return check.against, float(str(check.arguments["similarity"]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def held_versions(plan: Plan, tables: Tables | None) -> Mapping[str, str]:
    """The versions of the sources that checks of a plan compare with, by name."""
    names = {check.against[0] for check in plan.comparing}
    return {} if tables is None else tables.versions(sorted(names))
