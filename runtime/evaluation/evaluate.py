"""Evaluating: a recipe's measures over its datasets, and over what students answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.plan import EvaluationPlan, MeasurePlan, ModelPlan, Plan
from runtime.books import Books, Ledger
from runtime.config import Settings
from runtime.evaluation.asks import Asks
from runtime.evaluation.exams import Exam
from runtime.evaluation.items import Items
from runtime.evaluation.measures import OF_ANSWERS, Results, examine, measure
from runtime.evaluation.verdicts import Measured
from runtime.lookup import Indexes
from runtime.models import Models
from runtime.progress import Progress
from runtime.run import RunOptions, RunReport, Watch, run_books
from store.history import Finished, History
from store.log import Log

# The name of the model that `--student` gives.
STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation of a recipe.  `report` is how the asking ended; None where nobody was asked."""

    plan: EvaluationPlan
    measured: tuple[Measured, ...]
    report: RunReport | None = None

    @property
    def held(self) -> bool:
        return all(each.held for each in self.measured)


def evaluate(
    plan: Plan,
    settings: Settings,
    log_path: Path,
    *,
    student: bool = False,
    options: RunOptions | None = None,
    watch: Watch | None = None,
) -> list[Evaluated]:
    """Takes every measure of a plan's evaluations.

    What models are asked for it goes through the runtime and into the log, so that an answer or
    a judgement is paid for once.  With `student`, the model of that name is asked for answers to
    the held-out rows, and every measure of answers is taken of them too.  Raises SynthError.
    """
    if student:
        plan = with_student(plan, settings)
    asking = any(
        {"student", "judge"} & set(each.arguments)
        for evaluation in plan.evaluations
        for each in evaluation.measures
    )
    if not log_path.exists():
        # To read it says so in one sentence; to write would make an empty one.
        asking = False
    with Log(log_path, writer=asking) as log:
        session = _Session(plan, settings, log, options or RunOptions(), watch or Watch())
        return [session.evaluate(evaluation) for evaluation in plan.evaluations]


@dataclass(frozen=True, slots=True)
class _Session:
    plan: Plan
    settings: Settings
    log: Log
    options: RunOptions
    watch: Watch

    def evaluate(self, evaluation: EvaluationPlan) -> Evaluated:
        items = Items(self.plan, self.log, evaluation.of)
        exams = {
            exam.name: exam
            for each in evaluation.measures
            if (exam := examine(self.plan, evaluation, each, items)) is not None
        }
        report, results = None, Results({})
        if exams:
            report, results = self._ask(list(exams.values()))
        measured = [
            one
            for each in evaluation.measures
            for one in measure(self.plan, evaluation, each, items, results)
        ]
        return Evaluated(evaluation, tuple(measured), report)

    def _ask(self, exams: Sequence[Exam]) -> tuple[RunReport, Results]:
        plan = _asking(self.plan, exams)
        models = Models(plan, self.settings)
        indexes = Indexes(plan, self.settings, self.options.allowed)

        def open_asks(
            made: Plan,
            finished: Mapping[str, Finished],
            ledger: Ledger,
            progress: Progress,
            limit: int | None,
        ) -> list[Books]:
            return [
                Asks(made.recipe, exam.cohort, exam.asks[:limit], finished[exam.name], ledger, progress)
                for exam in exams
            ]

        report = asyncio.run(run_books(plan, models, indexes, self.log, self.options, self.watch, open_asks))
        history, values = History(self.log), {}
        lineages = models.lineages(plan)
        for exam in exams:
            names = {ask.name(plan.recipe, exam.name): ask.row for ask in exam.asks[: self.options.limit]}
            endings = history.endings(lineages[exam.name]["lineage"], names)
            values[exam.name] = {row: endings.get(name) for name, row in names.items()}
        return report, Results(values)


def with_student(plan: Plan, settings: Settings) -> Plan:
    """The plan with a model named `student` and each measure of answers also taken of it."""
    if not any(model.name == STUDENT for model in plan.models):
        spec = settings.given[STUDENT]
        model = ModelPlan(name=STUDENT, capabilities=("chat",), backend=spec.backend, id=spec.id)
        plan = _changed(plan, models=(*plan.models, model))
    evaluations = tuple(
        evaluation.model_copy(update={"measures": (*evaluation.measures, *_of_student(evaluation))})
        for evaluation in plan.evaluations
    )
    return _changed(plan, evaluations=evaluations)


def _of_student(evaluation: EvaluationPlan) -> list[MeasurePlan]:
    asked = {(each.name, each.arguments.get("student")) for each in evaluation.measures}
    return [
        each.model_copy(update={"arguments": {**each.arguments, "student": STUDENT}})
        for each in evaluation.measures
        if each.name in OF_ANSWERS and "student" not in each.arguments and (each.name, STUDENT) not in asked
    ]


def _changed(plan: Plan, **changes: Any) -> Plan:
    """A plan with some parts replaced, and nothing cached of the old one."""
    parts = {name: getattr(plan, name) for name in Plan.model_fields}
    return Plan(**{**parts, **changes}).below(plan.folder)


def _asking(plan: Plan, exams: Sequence[Exam]) -> Plan:
    """The plan of what is asked: the exams' cohorts, and the models and sources they need."""
    asked = {step.model for exam in exams for step in exam.cohort.steps}
    looked_up = {str(step.call.arguments["source"]) for e in exams for step in e.cohort.steps if step.call}
    return _changed(
        plan,
        cohorts=tuple(exam.cohort for exam in exams),
        models=tuple(model for model in plan.models if model.name in asked),
        sources=tuple(source for source in plan.sources if source.name in looked_up),
        preferences=(),
        mixes=(),
        exports=(),
        evaluations=(),
    )
