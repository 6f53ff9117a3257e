"""`sql_accuracy`: a student's queries give what the queries of the rows give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synth.base.errors import ConfigError
from synth.compiler.bind.imports import project_root
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import MetricPlan
from synth.compiler.stdlib.checks.parsed import code_of
from synth.runtime.evaluation import evalsets
from synth.runtime.evaluation.evalset import EvalSet
from synth.runtime.evaluation.items import Item, without_thought
from synth.runtime.evaluation.metrics import Metric, Results, unasked
from synth.runtime.evaluation.verdicts import Measured, VerdictCounts
from synth.runtime.functions.asked import Fault
from synth.runtime.functions.pool import Limits
from synth.runtime.functions.running.runs import Running

_ON = ("schema", "schema_file", "database")


class SqlAccuracy(Metric):
    """A student's query and the row's last trained one are run.  Rows whose own does not run say nothing."""

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        super().__init__(plan, of, metric)
        given = [metric.arguments.get(name) for name in _ON]
        self.columns = tuple(str(each["column"]) for each in given if isinstance(each, dict))
        self._folder = plan.folder
        self._root = project_root(plan.folder)
        for name in ("schema_file", "database"):
            path = metric.arguments.get(name)
            if isinstance(path, str) and self._placed(path) is None:
                raise ConfigError(f"`sql_accuracy`: there is no file `{path}` of the project")

    def evalset(self) -> EvalSet | None:
        assert self.student is not None
        return evalsets.answers(self.export.name, self.student, self.items)

    def measured(self, results: Results) -> Iterator[Measured]:
        counts, answered = VerdictCounts(self.metric), results.of(self.evalset())
        said = {
            item.id: without_thought(values["answer"], self.export)
            for item in self.items
            if (values := answered.get(item.id)) is not None
        }
        told = asyncio.run(self._compared([item for item in self.items if item.id in said], said))
        unfit = 0
        for item in self.items:
            if item.id in answered and item.id not in said:
                counts.add(item.id, False, "no answer")
            elif (verdict := told.get(item.id)) is not None:
                unfit += "unfit" in verdict
                if "unfit" not in verdict:
                    counts.add(item.id, "why" not in verdict, verdict.get("why", ""))
        note = f"the queries of {unfit:,} rows do not run" if unfit else unasked(self._rows, answered)
        yield counts.measured(self.of, "execution", note)

    async def _compared(self, items: list[Item], said: Mapping[str, str]) -> dict[str, dict[str, str]]:
        running = Running(self._root, Limits())
        try:
            found = await asyncio.gather(*(self._verdict(each, said[each.id], running) for each in items))
        finally:
            await running.close()
        return {item.id: verdict for item, verdict in zip(items, found, strict=True)}

    async def _verdict(self, item: Item, text: str, running: Running) -> dict[str, str]:
        on: dict[str, Any] = {}
        for name in _ON:
            value = self.metric.arguments.get(name)
            if isinstance(value, dict):
                value = item.columns.get(str(value["column"]))
            if value is None:
                continue
            on[name] = str(value) if name == "schema" else self._placed(str(value))
            if on[name] is None:
                return {"unfit": f"there is no file `{value}` of the project"}
        if not on:
            return {"unfit": "it has nothing to run on"}
        try:
            wanted = code_of(item.answers[-1].text, "sql")
        except ValueError as error:
            return {"unfit": str(error)}
        try:
            query = code_of(text, "sql")
        except ValueError as error:
            return {"why": str(error)}
        told = await running.compare({"query": query, "wanted": wanted, **on})
        if isinstance(told, Fault):
            return {"why": told.reason}
        verdict: dict[str, str] = json.loads(told[0])
        return verdict

    def _placed(self, path: str) -> str | None:
        """A file of the project, or None."""
        where = (self._folder / Path(path)).resolve()
        return str(where) if where.is_relative_to(self._root) and where.is_file() else None
