"""Facts of a plan, in the words of the reference's `plan` blocks.

    calls                         calls of all conversations, without retries
    seed, losses, params.size, models.base.sampling.temperature, exports.train.split,
    sources.docs.split.name, preferences.pairs.quota, mixes.training.parts, evaluations.quality.of
    chats.quota, chats.train_on, chats.calls, chats.turns, chats.steps
    chats.answer.retry            anything a plan knows of a turn or step; its conditions as they are written
    chats.draw temper             how many samples draw each member, counted sample by sample
    chats.draw temper in law      the same for the samples of one cell of `over`
    chats.over world
    chats.rows there              how many rows there are in the file, and how many samples are made
    chats.samples there           of them
    chats[3].question             text composed for the third sample; `<answer>` stands for what
    chats[3].answer.prompt        the model writes in `answer`

Values are written as text; lists are separated by commas, and a text with line ends is JSON.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from synth.compiler.plan.conditions import ConditionPlan, all_hold
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.outputs import MixPlan
from synth.compiler.plan.presence import samples_with
from synth.compiler.plan.steps import CheckPlan, JsonOutput, PickPlan, StepPlan
from synth.compiler.plan.strata import Slot, slots
from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.folds import FOLDS
from synth.compiler.stdlib.render import render
from synth.compiler.stdlib.verdict import Refusal, composed_value
from synth.runtime.money.quotas import expected_quotas
from synth.runtime.sources.counts import count_rows
from synth.store.dataset.materialize import materialize
from synth.store.log.log import Log
from tests.kit.support import rows as rows_in
from tests.store.log.logs import Candidate, Story, chat

_COUNTED = re.compile(r"(?P<cohort>\w+)\.(?:draw|over) (?P<name>\w+)(?: in (?P<cell>\w+))?")
_THERE = re.compile(r"(?P<cohort>\w+)\.(?P<what>rows|samples) there")
_COMPOSED = re.compile(r"(?P<cohort>\w+)\[(?P<number>\d+)\]\.(?P<step>\w+)(?:\.(?P<field>prompt|system))?")


def fact(plan: Plan, path: str) -> str:
    """The value of one fact, as it is written in a page."""
    if match := _THERE.fullmatch(path):
        return _there(plan, plan.cohort(match["cohort"]), match["what"])
    if match := _COUNTED.fullmatch(path):
        return _counted(plan, plan.cohort(match["cohort"]), match["name"], match["cell"])
    if match := _COMPOSED.fullmatch(path):
        cohort = plan.cohort(match["cohort"])
        slot = next(islice(slots(plan, cohort), int(match["number"]) - 1, None))
        return _composed(cohort, slot, match["step"], match["field"] or "value")
    value: Any = _tree(plan)
    for name in path.split("."):
        value = value[name]
    return _written(value)


def rows(plan: Plan, export: str) -> list[dict[str, Any]]:
    """The rows of an export where each conversation has its first sample alone and each source one
    row, with `<answer>` for what a model writes, `<answer, refused>` for an attempt before it and
    `<answer, 2>` for the second of several candidates."""
    story = Story(plan)
    for source in plan.sources:
        if source.type == "messages":
            story.ingest(source.name, [chat("<question>", "<answer>")])
    for cohort in plan.cohorts:
        slot = next(slots(plan, cohort))
        values = {step.name: _value(step, _values(cohort, slot)[step.name]) for step in cohort.steps}
        if any(step.rubric is not None and step.model is not None for step in cohort.steps):
            story.judge(cohort, slot, values, _candidates(cohort))
            continue
        refused = {
            step.name: [(f"<{step.name}, refused>", _names(step.checks)[0])]
            for step in cohort.steps
            if step.checks
        }
        story.complete(cohort, slot, values, refused=refused)
    for pairs in plan.pair_cohorts:
        slot = next(slots(plan, plan.cohort(plan.preference(pairs.name).source)))
        story.pair(pairs.name, slot, {step.name: f"<{step.name}>" for step in pairs.steps})
    with TemporaryDirectory() as folder, Log(story.write(Path(folder) / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, Path(folder), partial=True, only=export)
        return [row for path in sorted(dataset.folder.glob("*.jsonl")) for row in rows_in(path)]


def _candidates(cohort: CohortPlan) -> dict[str, list[Candidate]]:
    """By step that judges mark the best, which is picked, and the others with the lowest marks."""
    candidates: dict[str, list[Candidate]] = {}
    for step in cohort.steps:
        if step.rubric is None or step.model is None:
            continue
        high, low = (
            {criterion.name: getattr(criterion, end) for criterion in step.rubric.criteria}
            for end in ("high", "low")
        )
        best = Candidate(0, 0, f"<{step.name}>", high, picked=True)
        others = (Candidate(0, k, f"<{step.name}, {k + 1}>", low) for k in range(1, step.candidates))
        candidates[step.name] = [best, *others]
    return candidates


def _value(step: StepPlan, value: Any) -> Any:
    """What a step's value is in the log.  A list of messages is a question and its answer."""
    if step.call is not None or not isinstance(step.output, JsonOutput):
        return value
    if step.thinks:
        return {"thought": f"<{step.name}.thought>", "content": f"<{step.name}.content>"}
    item = step.output.schema_.get("items")
    if not isinstance(item, dict) or "role" not in str(item.get("properties")):
        return _example(step.output.schema_, step.name) if step.role is None else str(value)
    messages = [{"role": role, "content": f"<{step.name}, {role}>"} for role in ("user", "model")]
    if "thought" in str(item["properties"]):
        messages[1]["thought"] = f"<{step.name}, thought>"
    return messages


def _example(schema: Mapping[str, Any], name: str) -> Any:
    """JSON of a schema: `<card.question>` for each text, and the least that a number may be."""
    match schema.get("type"):
        case "object":
            fields = {field: schema["properties"][field] for field in schema["required"]}
            return {field: _example(of, f"{name}.{field}") for field, of in fields.items()}
        case "array":
            return [_example(schema["items"], name)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
    return f"<{name}>"


def _tree(plan: Plan) -> dict[str, Any]:
    """The plan as nested mappings, with what is named under its name."""
    tree: dict[str, Any] = plan.model_dump(include={"seed", "losses", "recipe", "docs", "params"})
    tree["models"] = {model.name: model.model_dump() for model in plan.models}
    tree["exports"] = {
        export.name: {**export.model_dump(), "columns": [getattr(c, "name", c) for c in export.columns]}
        for export in plan.exports
    }
    tree["sources"] = {
        source.name: {**source.model_dump(), "keep": _names(source.keep)} for source in plan.sources
    }
    tree["preferences"] = {
        preference.name: {**preference.model_dump(), **_steps(preference.steps)}
        for preference in plan.preferences
    }
    tree["mixes"] = {mix.name: {**mix.model_dump(), "parts": _shares(mix)} for mix in plan.mixes}
    tree["evaluations"] = {
        evaluation.name: {"of": evaluation.of, "measures": [measure.name for measure in evaluation.measures]}
        for evaluation in plan.evaluations
    }
    for cohort in plan.cohorts:
        written = [step for step in cohort.steps if step.model is not None]
        tree[cohort.name] = {
            **cohort.model_dump(exclude={"axes", "draws", "steps"}),
            "keep": _names(cohort.keep),
            "calls": sum(samples_with(plan, cohort, step, cohort.quota) * step.exchanges for step in written),
            "turns": [turn.name for turn in cohort.turns],
            "steps": [step.name for step in cohort.steps],
            **_steps(cohort.steps),
        }
    tree["calls"] = sum(tree[cohort.name]["calls"] for cohort in plan.cohorts)
    return tree


def _steps(steps: Iterable[StepPlan]) -> dict[str, Any]:
    return {
        step.name: {
            **step.model_dump(),
            "checks": _names(step.checks),
            "must_fail": _names(step.must_fail),
            "when": [_condition(condition) for condition in step.when],
            "marked_by": [f"{judging.name} by {judging.model}" for judging in step.marked_by],
            "pick": _picked(step.pick),
            "tools": [tool.name for tool in step.tools],
            "told": {tool.name: tool.definition["function"] for tool in step.tools},
            "played": [f"{player.name} by {player.model}" for player in step.players],
        }
        for step in steps
    }


def _condition(plan: ConditionPlan) -> str:
    text = f"{'unless' if plan.negated else 'when'} {'.'.join(plan.path)}"
    if plan.values is not None:
        text += f" in [{', '.join(map(str, plan.values))}]"
    if plan.range is not None:
        text += " in " + "..".join("" if end is None else str(end) for end in plan.range)
    return text


def _picked(plan: PickPlan) -> str:
    """`best`, or `most_common` with what is compared."""
    compared = plan.call.name if plan.call is not None else ".".join(plan.of)
    return f"{plan.by}({compared})" if plan.by == "most_common" else plan.by


def _names(checks: Iterable[CheckPlan]) -> list[str]:
    return [check.label or check.name for check in checks]


def _shares(mix: MixPlan) -> list[str]:
    return [f"{part.name} {mix.share(part)}" for part in mix.parts]


def _there(plan: Plan, cohort: CohortPlan, what: str) -> str:
    rows = {name: count_rows(plan, plan.source(name)).rows for name in plan.tables}
    if what == "rows":
        assert cohort.rows is not None
        return str(rows[cohort.rows.table])
    return str(expected_quotas(plan, rows)[cohort.name])


def _counted(plan: Plan, cohort: CohortPlan, name: str, cell: str | None) -> str:
    counts: Counter[str] = Counter()
    for slot in slots(plan, cohort):
        labels = dict(slot.cell.labels)
        if cell is None or cell in labels.values():
            counts[labels[name]] += 1
    members = {
        **{axis.name: axis.members for axis in cohort.axes},
        **{draw.name: draw.members for draw in cohort.draws},
    }[name]
    return ", ".join(f"{member.label} {counts[member.label]}" for member in members)


def _composed(cohort: CohortPlan, slot: Slot, name: str, field: str) -> str:
    template = getattr(cohort.step(name), field)
    return _written(render(template, _values(cohort, slot)))


class Answer(dict[str, Any]):
    """Stands for JSON that a model writes: `<fact>`, and `<fact.claim>` for a field."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, field: str) -> Answer:
        return Answer(f"{self._name}.{field}")

    def __str__(self) -> str:
        return f"<{self._name}>"


def _values(cohort: CohortPlan, slot: Slot) -> dict[str, Any]:
    values = environment(cohort, slot)
    for step in cohort.steps:
        if not all_hold(step.when, values):
            values[step.name] = None
        elif step.value is not None:
            text = render(step.value, values)
            value = composed_value(step, text, values)
            values[step.name] = text if isinstance(value, Refusal) else value
        elif step.call is not None and step.call.name in FOLDS:
            values[step.name] = FOLDS[step.call.name](step.call, values)
        elif step.call is not None:
            values[step.name] = [{"document": "<document>", "text": f"<{step.name}>"}]
        else:
            values[step.name] = Answer(step.name) if step.output.kind == "json" else f"<{step.name}>"
    return values


def _written(value: Any) -> str:
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False) if "\n" in value else value
        case bool() | None:
            return json.dumps(value)
        case list() | tuple():
            return ", ".join(map(_written, value))
        case dict():
            return json.dumps(value, ensure_ascii=False)
    return str(value)
