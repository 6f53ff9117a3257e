"""The rows of sources that checks compare values with, as the log has them when a run begins."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.verdict import parts_of
from synth.runtime.calls.attempt import Rows, Unheld
from synth.store.dataset.inputs.over_table import Tables

# A source and the path of a field, and how values are compared with it.
_Key = tuple[tuple[str, ...], str, float]


class SharedRuns:
    """An index of all runs of so many words, case folded and without punctuation, in some 150 bytes
    each."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._runs: dict[bytes, str] = {}

    def find(self, text: str) -> str | None:
        """The name of a kept text that shares a run."""
        return next((self._runs[run] for run in self._of(text) if run in self._runs), None)

    def keep(self, name: str, text: str) -> None:
        for run in self._of(text):
            self._runs.setdefault(run, name)

    def _of(self, text: str) -> Iterator[bytes]:
        words = _WORD.findall(text.casefold())
        for start in range(len(words) - self._length + 1):
            run = " ".join(words[start : start + self._length]).encode("utf-8", "surrogatepass")
            yield blake2b(run, digest_size=8).digest()


_WORD = re.compile(r"\w+")


class HeldRows:
    """An index for each field that checks of a plan compare with; `read` fills them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._indexes: dict[_Key, NearDuplicates | SharedRuns] = {}

    def read(self, tables: Tables) -> None:
        """Reads the rows that pass each source's `keep`.  Raises QuotaShort where none were read."""
        wanted: dict[str, dict[_Key, NearDuplicates | SharedRuns]] = {}
        for check in self._plan.comparing:
            _, by, bound = key = _key(check)
            index = SharedRuns(int(bound)) if by == "ngram" else NearDuplicates(bound)
            wanted.setdefault(check.against[0], {})[key] = index
        for source, indexes in wanted.items():
            for name, values in tables.rows(source):
                for (path, *_), index in indexes.items():
                    for part in parts_of(values, path[1:]):
                        index.keep(name, _text(part))
            self._indexes |= indexes

    def reason(self, check: CheckPlan, value: Any) -> str | None:
        """Why a value does not differ from each row, or None."""
        path, _, bound = key = _key(check)
        index = self._indexes[key]
        for part in parts_of(value, check.of):
            held = index.find(_text(part))
            if isinstance(held, str):
                place = f"`{'.'.join(path[1:])}` of {quoted(held)} in `{path[0]}`"
                return f"shares {bound:g} words in a row with {place}"
            if held is not None:
                name, alike = held
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
    by = "ngram" if "ngram" in check.arguments else "similarity"
    return check.against, by, float(str(check.arguments[by]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def held_versions(plan: Plan, tables: Tables | None) -> Mapping[str, str]:
    """The versions of the sources that checks of a plan compare with, by name."""
    names = {check.against[0] for check in plan.comparing}
    return {} if tables is None else tables.versions(sorted(names))
