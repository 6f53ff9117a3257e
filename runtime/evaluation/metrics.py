"""The measures: what each sees of the rows, whom it asks what, and what the answers come to.

A measure first sees every row.  Its `evalset` is then put to a student, and its `verdicts` to a
judge of what the student said; every other model that an evaluation asks is asked at one of these
times as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

from synth.base.canonical import digest
from synth.compiler.plan.judging.rubrics import marks_of
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.outputs import MetricPlan
from synth.compiler.stdlib.filters import chat
from synth.runtime.evaluation import evalsets
from synth.runtime.evaluation.evalset import EvalSet
from synth.runtime.evaluation.faults import FAULTS, concerns, count_answer
from synth.runtime.evaluation.items import Answer, Item, export_of, voices_of, without_thought
from synth.runtime.evaluation.questions import read_questions
from synth.runtime.evaluation.verdicts import Measured, VerdictCounts, mean_of_marks
from synth.runtime.evaluation.voices import nearest_voices

# A small encoder reads some 25 texts a second on two cores.
_MOST_HEARD = 1_000


@dataclass(frozen=True, slots=True)
class Results:
    """What was answered: by evaluation set, then by row, the values of its steps, or None where there will
    be none.  What is not known yet is left out."""

    values: Mapping[str, Mapping[str, Mapping[str, Any] | None]]

    def of(self, evalset: EvalSet | None) -> Mapping[str, Mapping[str, Any] | None]:
        return {} if evalset is None else self.values.get(evalset.name, {})


class Metric:
    """One measure of an evaluation.  `of_rows` says that it looks at the dataset at all."""

    of_rows = True
    # Columns of the rows that it goes by.
    columns: tuple[str, ...] = ()

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        self.metric = metric
        self.export = export_of(plan, of)
        self.student = _model(plan, metric, "student")
        self.judge = _model(plan, metric, "judge")
        self.items: list[Item] = []

    @property
    def asks_models(self) -> bool:
        """Whether any model is asked for it."""
        return self.student is not None or self.judge is not None

    def see(self, item: Item, asked: bool) -> None:
        """Takes note of a row; `asked` are those that models are asked about."""
        if asked and item.asked and concerns(self.metric, item, item.answers[-1]):
            self.items.append(item)

    def evalset(self) -> EvalSet | None:
        """What a model is to be asked."""
        return None

    def verdicts(self, results: Results) -> EvalSet | None:
        """What a judge is to be asked about the answers to that."""
        return None

    def measured(self, results: Results) -> Iterator[Measured]:
        """What it comes to: one line, or one for each way it is judged."""
        raise NotImplementedError

    @property
    def of(self) -> str:
        return "dataset" if self.student is None else self.student.name

    @property
    def _rows(self) -> list[str]:
        return [item.id for item in self.items]


class OfDataset(Metric):
    """Every trained answer that the dataset holds; of refusals, the last one of a row."""

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        super().__init__(plan, of, metric)
        self._tally = VerdictCounts(metric)

    def see(self, item: Item, asked: bool) -> None:
        for answer in item.answers if self.metric.name in FAULTS else item.answers[-1:]:
            if concerns(self.metric, item, answer):
                count_answer(self.metric, item.id, answer, self._tally)

    def measured(self, results: Results) -> Iterator[Measured]:
        yield self._tally.measured(self.of, note=_nothing(self._tally))


class OfStudent(Metric):
    """A student's answers in place of each row's last trained one."""

    def evalset(self) -> EvalSet | None:
        assert self.student is not None
        return evalsets.answers(self.export.name, self.student, self.items)

    def measured(self, results: Results) -> Iterator[Measured]:
        counts, answered = VerdictCounts(self.metric), results.of(self.evalset())
        for item in self.items:
            if item.id not in answered:
                continue
            values = answered[item.id]
            if values is None:
                # For want of an answer nothing is said as it should be.
                counts.add(item.id, self.metric.name in FAULTS, "no answer")
            else:
                text = without_thought(values["answer"], self.export)
                count_answer(self.metric, item.id, Answer(text, item.answers[-1].schema), counts)
        note = unasked(self._rows, answered) if self.items else _nothing(counts)
        yield counts.measured(self.of, note=note)


class Perplexity(Metric):
    """How unlikely the last trained answers are to a student, by all their tokens together: long
    answers weigh more."""

    def evalset(self) -> EvalSet | None:
        assert self.student is not None
        return evalsets.likelihood(self.export.name, self.student, self.items)

    def measured(self, results: Results) -> Iterator[Measured]:
        answered = results.of(self.evalset())
        scores = [values["score"] for values in answered.values() if values is not None]
        tokens = sum(score["tokens"] for score in scores)
        value = exp(-sum(score["logprob"] for score in scores) / tokens) if tokens else None
        unscored = sum(values is None for values in answered.values())
        note = f"{unscored:,} could not be scored" if unscored else unasked(self._rows, answered)
        yield Measured(self.metric, self.of, value, "", len(scores), note=note or f"{tokens:,} tokens")


class OfReferences(Metric):
    """A judge compares a student's answers with those of the rows."""

    def evalset(self) -> EvalSet | None:
        assert self.student is not None
        return evalsets.answers(self.export.name, self.student, self.items)

    def verdicts(self, results: Results) -> EvalSet | None:
        return _judged(self, results, {item.id: (_asked(item), item.given) for item in self.items})

    def measured(self, results: Results) -> Iterator[Measured]:
        yield _correct(self, results)


class Marked(Metric):
    """What judges mark by a rubric: a student's answers, or the last trained ones of the rows."""

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        super().__init__(plan, of, metric)
        assert metric.rubric is not None
        names: Any = metric.arguments["judges"]
        self._judges = [plan.model(name) for name in names]
        self._rubric, self._mark = metric.rubric, str(metric.arguments["mark"])

    @property
    def asks_models(self) -> bool:
        return True

    def evalset(self) -> EvalSet | None:
        if self.student is None:
            return None
        return evalsets.answers(self.export.name, self.student, self.items)

    def verdicts(self, results: Results) -> EvalSet | None:
        said = self._said(results)
        shown = {item.id: (chat(item.asked), said[item.id]) for item in self.items if said.get(item.id)}
        return evalsets.marks(self.export.name, self.of, self._rubric, self._judges, shown)

    def measured(self, results: Results) -> Iterator[Measured]:
        said, marked = self._said(results), results.of(self.verdicts(results))
        found: list[tuple[float, str, str]] = []
        for item in self.items:
            if item.id in said and not said[item.id]:
                # For want of an answer there is nothing good in it.
                found.append((self._least, item.id, "no answer"))
            elif (heard := marked.get(item.id)) is not None:
                marks = marks_of(self._rubric, list(heard.values()), [judge.name for judge in self._judges])
                found.append((marks[self._mark], item.id, f"{marks[self._mark]}: {marks['why']}"))
        yield mean_of_marks(
            self.metric,
            self.of,
            found,
            _silent(marked) or unasked([row for row, text in said.items() if text], marked),
        )

    @property
    def _least(self) -> float:
        marks = {each.name: each.low for each in self._rubric.criteria}
        return marks.get(self._mark, sum(marks.values()))

    def _said(self, results: Results) -> dict[str, str]:
        """What is marked, by row; nothing where there is no answer."""
        if self.student is None:
            return {item.id: item.answers[-1].text for item in self.items}
        answered = results.of(self.evalset())
        return {
            row: "" if values is None else without_thought(values["answer"], self.export)
            for row, values in answered.items()
        }


class OfQuestions(Metric):
    """A student answers questions from passages; facts, a judge or both say what is right."""

    of_rows = False

    def __init__(self, plan: Plan, of: str, metric: MetricPlan, allowed: Sequence[Path]) -> None:
        super().__init__(plan, of, metric)
        self._path = str(metric.arguments["questions"])
        self._questions = read_questions(plan.folder, self._path, allowed)

    def evalset(self) -> EvalSet | None:
        assert self.student is not None
        arguments = self.metric.arguments
        source, top_k = str(arguments["source"]), int(str(arguments["top_k"]))
        return evalsets.questions(self.student, self._questions, self._path, source, top_k)

    def verdicts(self, results: Results) -> EvalSet | None:
        return _judged(self, results, {each.id: (each.question, each.answer) for each in self._questions})

    def measured(self, results: Results) -> Iterator[Measured]:
        counts, answered = VerdictCounts(self.metric), results.of(self.evalset())
        asked = [each for each in self._questions if each.facts]
        for question in asked:
            if question.id in answered:
                values = answered[question.id]
                lacks = ["an answer"] if values is None else question.missing(self._text(values))
                counts.add(question.id, not lacks, "lacks " + ", ".join(lacks))
        if asked or self.judge is None:
            note = "" if asked else "no question has facts"
            yield counts.measured(self.of, "facts", note or unasked([each.id for each in asked], answered))
        if self.judge is not None:
            yield _correct(self, results)

    def _text(self, values: Mapping[str, Any]) -> str:
        return without_thought(values["answer"], self.export)


class Tone(Metric):
    """Whether the user's side of a row has the voice of its persona: to a judge, who is asked about
    the held-out rows, or by which other rows it is nearest to, among so many of all."""

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        super().__init__(plan, of, metric)
        self._column, self._personas = voices_of(plan, self.export)

    def see(self, item: Item, asked: bool) -> None:
        if asked or self.judge is None:
            self.items.append(item)
        if self.judge is None and len(self.items) >= 2 * _MOST_HEARD:
            self.items = _some(self.items)

    def evalset(self) -> EvalSet | None:
        if self.judge is None:
            return None
        return evalsets.voices(self.export.name, self.judge, self._personas, _user_side(self.items))

    def measured(self, results: Results) -> Iterator[Measured]:
        wanted = {item.id: item.columns[self._column] for item in self.items}
        if self.judge is None:
            heard = nearest_voices(_user_side(_some(self.items)), wanted)
            by, note = "nearest voice", "" if heard else "it takes two personas with two rows each"
        else:
            answered = results.of(self.evalset())
            heard = {row: values["voice"]["persona"] for row, values in answered.items() if values}
            by, note = f"`{self.judge.name}`", _silent(answered) or unasked(self._rows, answered)
        counts = VerdictCounts(self.metric)
        for row, persona in heard.items():
            counts.add(row, persona == wanted[row], f"is {wanted[row]} and sounds like {persona}")
        yield counts.measured(self.of, by, note)


def _some(items: list[Item]) -> list[Item]:
    """So many of some rows as are compared with each other: the same ones whatever their order, and
    most of them still when there are more."""
    return sorted(items, key=lambda item: digest(item.id))[:_MOST_HEARD]


def _user_side(items: Iterable[Item]) -> dict[str, str]:
    return {
        item.id: "\n".join(each["content"] for each in item.said if each["role"] == "user") for item in items
    }


def _judged(metric: Metric, results: Results, wanted: Mapping[str, tuple[str, str]]) -> EvalSet | None:
    """What a judge is asked about a student's answers; `wanted` has the question and the
    reference for each."""
    evalset = metric.evalset()
    if metric.judge is None or evalset is None:
        return None
    answered = {
        row: {
            "question": wanted[row][0],
            "reference": wanted[row][1],
            "answer": without_thought(values["answer"], metric.export),
        }
        for row, values in results.of(evalset).items()
        if values is not None
    }
    return evalsets.verdicts(evalset.name, metric.judge, answered)


def _correct(metric: Metric, results: Results) -> Measured:
    """The share of answers that a judge finds correct; no answer is none."""
    assert metric.judge is not None
    evalset, counts = metric.evalset(), VerdictCounts(metric.metric)
    assert evalset is not None
    answered, judged = results.of(evalset), results.of(metric.verdicts(results))
    for row, values in answered.items():
        verdict = judged.get(row)
        if values is None:
            counts.add(row, False, "no answer")
        elif verdict is not None:
            counts.add(row, verdict["verdict"]["correct"], verdict["verdict"]["why"])
    said = [row for row, values in answered.items() if values is not None]
    note = (
        _silent(judged)
        or unasked([entry.row for entry in evalset.entries], answered)
        or unasked(said, judged)
    )
    return counts.measured(metric.of, f"`{metric.judge.name}`", note)


def _asked(item: Item) -> str:
    """The question of a row, with what was said before it."""
    return str(item.asked[0]["content"]) if len(item.asked) == 1 else chat(item.asked)


def _nothing(counts: VerdictCounts) -> str:
    """Why there was nothing to judge."""
    if counts.judged:
        return ""
    among = counts.metric.arguments.get("among")
    if among is not None:
        return f"none of the rows is made as {among}"
    return "no answer is to be JSON" if counts.metric.name == "json_errors" else "there are no answers"


def _silent(judged: Mapping[str, Mapping[str, Any] | None]) -> str:
    number = sum(values is None for values in judged.values())
    return f"no verdict on {number:,}" if number else ""


def unasked(wanted: Sequence[str], answered: Mapping[str, object]) -> str:
    """How many of some rows were not asked about, as a clause."""
    missing = sum(row not in answered for row in wanted)
    return f"{missing:,} of {len(wanted):,} not asked" if missing else ""


def _model(plan: Plan, metric: MetricPlan, role: str) -> ModelPlan | None:
    name = metric.arguments.get(role)
    return None if name is None else plan.model(str(name))
