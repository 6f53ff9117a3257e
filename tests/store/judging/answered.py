"""A recipe with an answer that is chosen among candidates by marks, and logs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synth.compiler.compile import compile_text
from synth.compiler.plan.judging.marking import marking
from synth.compiler.plan.judging.rubrics import CriterionPlan, RubricPlan
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.outputs import ColumnPlace, ColumnPlan
from synth.compiler.plan.steps import CallPlan, PickPlan, StepPlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.verify import read_manifest, verify_against_log, verify_files
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Candidate, Story, all_slots

RECIPE = """edition 1
recipe judging { seed = 5 }

model writer: model<chat, json> from simulated()

schema Card { front: text, back: text }

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
}

conversation answered over subject in subjects times 2 {
  step draft: text by writer { prompt = "Draft {{ subject.about }}." }
  step card: json<Card> by writer { prompt = "A card." }
  turn ask: user = "What of {{ subject.about }}?"
  turn answer: model by writer {
    prompt = "{{ ask }} {{ draft }}"
    check { length(1..40) }
    retry = 2
  }
}

preference pairs from answered {
  turn padded: model by writer { prompt = "Pad: {{ answered.ask }}" }
  chosen = answered.answer
  rejected = padded
}

export dpo: preference from pairs to "out/pairs"
export sft: messages from answered to "out/sft"
export kto: unpaired from answered to "out/kto"
export refused: rejected from answered to "out/refused"
export ranks: unpaired from answered to "out/ranks"
"""
RUBRIC = RubricPlan(
    name="quality",
    criteria=(
        CriterionPlan(name="helpful", low=1, high=5, question="Does it help?"),
        CriterionPlan(name="brief", low=1, high=3, question="Is it short?"),
    ),
)
VALUES = {"ask": "What?", "draft": "First.", "card": {"front": "a", "back": "b"}}


def judged_plan(
    chosen: CallPlan | None = None,
    rejected: CallPlan | None = None,
    *,
    step: str = "answer",
    quota: int | None = None,
    margin: float | None = None,
    columns: tuple[str, ...] = (),
    **of_exports: Any,
) -> Plan:
    """The plan with three candidates at a step, of which the best is picked, and pairs by their marks."""
    plan = compile_text(RECIPE).plan
    (cohort,), (pairs,) = plan.cohorts, plan.preferences
    marks = (marking(step, RUBRIC, "judge", Sampling(), {}),)
    judging = {"candidates": 3, "rubric": RUBRIC, "marked_by": marks, "pick": PickPlan(by="best")}

    def changed(each: StepPlan) -> StepPlan:
        return each.model_copy(update=judging) if each.name == step else each

    cohort = cohort.model_copy(update={"steps": tuple(map(changed, cohort.steps))})
    sides = {"chosen": chosen or by_mark("best", step), "rejected": rejected or by_mark("worst", step)}
    writes = any(side.name == "step" for side in sides.values())
    steps = pairs.steps if writes else ()
    pairs = pairs.model_copy(update={**sides, "quota": quota, "margin": margin, "steps": steps})
    exports = []
    for export in plan.exports:
        update = dict(of_exports)
        if export.name == "dpo":
            update["columns"] = tuple(
                ColumnPlan(
                    name=name,
                    type=ValueType(kind="number"),
                    places=(ColumnPlace(source="pairs", path=(name,)),),
                )
                for name in columns
            )
        if export.name == "ranks":
            update["type"] = "ranked"
        exports.append(export.model_copy(update=update))
    models = (*plan.models, plan.model("writer").model_copy(update={"name": "judge"}))
    made_of = {"models": models, "cohorts": (cohort,), "preferences": (pairs,), "exports": tuple(exports)}
    return plan.model_copy(update=made_of)


def by_mark(name: str, step: str = "answer") -> CallPlan:
    return CallPlan(name=name, arguments={"name": step})


def marks(helpful: int, brief: int = 1) -> dict[str, int]:
    return {"helpful": helpful, "brief": brief}


# One sample a slot: the best and the worst stand; the worst is refused for its mark; a first round is
# refused whole; marks are too near.
ANSWERS = (
    [
        Candidate(0, 0, "Mid.", marks(3)),
        Candidate(0, 1, "Good.", marks(5, 3), picked=True),
        Candidate(0, 2, "Poor.", marks(2)),
    ],
    [
        Candidate(0, 0, "Well.", marks(5), picked=True),
        Candidate(0, 1, "Way too long.", check="length"),
        Candidate(0, 2, "False.", marks(1), check="marked"),
    ],
    [
        Candidate(0, 0, "No.", marks(1), check="marked"),
        Candidate(0, 1, "No!", marks(2), check="marked"),
        Candidate(0, 2, "Nope.", marks(1, 2), check="marked"),
        Candidate(1, 0, "So.", marks(4), picked=True),
        Candidate(1, 1, "So, so.", marks(3)),
        Candidate(1, 2, "So so.", marks(3)),
    ],
    [
        Candidate(0, 0, "Fine.", marks(4), picked=True),
        Candidate(0, 1, "Fine!", marks(4)),
        Candidate(0, 2, "Fine?", marks(4)),
    ],
)


def told(plan: Plan, step: str = "answer", answers: Any = ANSWERS) -> Story:
    """A log of all samples."""
    story = Story(plan)
    values = {name: value for name, value in VALUES.items() if name != step}
    if step != "answer":
        values["answer"] = "That."
    for slot, tried in zip(all_slots(plan, "answered"), answers, strict=True):
        story.judge(plan.cohort("answered"), slot, values, {step: tried})
    return story


def made(story: Story, plan: Plan, folder: Path, export: str, **options: Any) -> Dataset:
    """One of the plan's datasets."""
    path = folder / "log.duckdb"
    folder.mkdir(exist_ok=True)
    if not path.exists():
        story.write(path)
    with Log(path) as log:
        (dataset,) = materialize(plan, log, folder, only=export, **options)
    return dataset


def hold(dataset: Dataset, folder: Path) -> None:
    """Fails where a dataset is not what its log gives."""
    manifest = read_manifest(dataset.folder)
    verify_files(dataset.folder, manifest)
    with Log(folder / "log.duckdb") as log:
        verify_against_log(dataset.folder, manifest, log)


def all_of(story: Story, plan: Plan, folder: Path) -> dict[str, Dataset]:
    """All of the plan's datasets by their exports' names."""
    with Log(story.write(folder / "log.duckdb")) as log:
        return {each.export.name: each for each in materialize(plan, log, folder)}


def read(dataset: Dataset) -> list[dict[str, Any]]:
    return [row for name in dataset.rows for row in rows(dataset.folder / f"{name}.jsonl")]
