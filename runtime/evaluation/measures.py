"""The measures: what each sees of the rows, whom it asks what, and what the answers come to.

A measure first sees every row.  Its `exam` is then put to a student, and its `verdicts` to a
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
from synth.compiler.plan.model import ModelPlan, Plan
from synth.compiler.plan.outputs import MeasurePlan
from synth.compiler.stdlib.filters import chat
from synth.runtime.evaluation import exams
from synth.runtime.evaluation.asks import Exam
from synth.runtime.evaluation.faults import FAULTS, OF_ANSWERS, concerns, count_answer
from synth.runtime.evaluation.items import Answer, Item, export_of, voices_of, without_thought
from synth.runtime.evaluation.questions import read_questions
from synth.runtime.evaluation.verdicts import Measured, Tally
from synth.runtime.evaluation.voices import nearest_voices

# A small encoder reads some 25 texts a second on two cores.
_MOST_HEARD = 1_000


@dataclass(frozen=True, slots=True)
class Results:
    """What was answered: by exam, then by row, the values of its steps, or None where there will
    be none.  What is not known yet is left out."""

    values: Mapping[str, Mapping[str, Mapping[str, Any] | None]]

    def of(self, exam: Exam | None) -> Mapping[str, Mapping[str, Any] | None]:
        return {} if exam is None else self.values.get(exam.name, {})


class Measure:
    """One measure of an evaluation.  `of_rows` says that it looks at the dataset at all."""

    of_rows = True

    def __init__(self, plan: Plan, of: str, measure: MeasurePlan) -> None:
        self.measure = measure
        self.export = export_of(plan, of)
        self.student = _model(plan, measure, "student")
        self.judge = _model(plan, measure, "judge")
        self.items: list[Item] = []

    @property
    def asks(self) -> bool:
        """Whether any model is asked for it."""
        return self.student is not None or self.judge is not None

    def see(self, item: Item, asked: bool) -> None:
        """Takes note of a row; `asked` are those that models are asked about."""
        if asked and item.asked and concerns(self.measure, item, item.answers[-1]):
            self.items.append(item)

    def exam(self) -> Exam | None:
        """What a model is to be asked."""
        return None

    def verdicts(self, results: Results) -> Exam | None:
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


def open_measure(plan: Plan, of: str, measure: MeasurePlan, allowed: Sequence[Path] = ()) -> Measure:
    """A measure, ready to see rows.  Raises ConfigError for questions that cannot be read."""
    if measure.name in OF_ANSWERS:
        kind = OfDataset if "student" not in measure.arguments else OfStudent
        return kind(plan, of, measure)
    if measure.name == "rag_accuracy" and "questions" in measure.arguments:
        return OfQuestions(plan, of, measure, allowed)
    return {"perplexity": Perplexity, "rag_accuracy": OfReferences, "tone": Tone}[measure.name](
        plan, of, measure
    )


class OfDataset(Measure):
    """Every trained answer that the dataset holds; of refusals, the last one of a row."""

    def __init__(self, plan: Plan, of: str, measure: MeasurePlan) -> None:
        super().__init__(plan, of, measure)
        self._tally = Tally(measure)

    def see(self, item: Item, asked: bool) -> None:
        for answer in item.answers if self.measure.name in FAULTS else item.answers[-1:]:
            if concerns(self.measure, item, answer):
                count_answer(self.measure, item.id, answer, self._tally)

    def measured(self, results: Results) -> Iterator[Measured]:
        yield self._tally.measured(self.of, note=_nothing(self._tally))


class OfStudent(Measure):
    """A student's answers in place of each row's last trained one."""

    def exam(self) -> Exam | None:
        assert self.student is not None
        return exams.answers(self.export.name, self.student, self.items)

    def measured(self, results: Results) -> Iterator[Measured]:
        tally, answered = Tally(self.measure), results.of(self.exam())
        for item in self.items:
            if item.id not in answered:
                continue
            values = answered[item.id]
            if values is None:
                # For want of an answer nothing is said as it should be.
                tally.add(item.id, self.measure.name in FAULTS, "no answer")
            else:
                text = without_thought(values["answer"], self.export)
                count_answer(self.measure, item.id, Answer(text, item.answers[-1].schema), tally)
        note = _unasked(self._rows, answered) if self.items else _nothing(tally)
        yield tally.measured(self.of, note=note)


class Perplexity(Measure):
    """How unlikely the last trained answers are to a student, by all their tokens together: long
    answers weigh more."""

    def exam(self) -> Exam | None:
        assert self.student is not None
        return exams.likelihood(self.export.name, self.student, self.items)

    def measured(self, results: Results) -> Iterator[Measured]:
        answered = results.of(self.exam())
        scores = [values["score"] for values in answered.values() if values is not None]
        tokens = sum(score["tokens"] for score in scores)
        value = exp(-sum(score["logprob"] for score in scores) / tokens) if tokens else None
        unscored = sum(values is None for values in answered.values())
        note = f"{unscored:,} could not be scored" if unscored else _unasked(self._rows, answered)
        yield Measured(self.measure, self.of, value, "", len(scores), note=note or f"{tokens:,} tokens")


class OfReferences(Measure):
    """A judge compares a student's answers with those of the rows."""

    def exam(self) -> Exam | None:
        assert self.student is not None
        return exams.answers(self.export.name, self.student, self.items)

    def verdicts(self, results: Results) -> Exam | None:
        return _judged(self, results, {item.id: (_asked(item), item.given) for item in self.items})

    def measured(self, results: Results) -> Iterator[Measured]:
        yield _correct(self, results)


class OfQuestions(Measure):
    """A student answers questions from passages; facts, a judge or both say what is right."""

    of_rows = False

    def __init__(self, plan: Plan, of: str, measure: MeasurePlan, allowed: Sequence[Path]) -> None:
        super().__init__(plan, of, measure)
        self._path = str(measure.arguments["questions"])
        self._questions = read_questions(plan.folder, self._path, allowed)

    def exam(self) -> Exam | None:
        assert self.student is not None
        arguments = self.measure.arguments
        source, top_k = str(arguments["source"]), int(str(arguments["top_k"]))
        return exams.questions(self.student, self._questions, self._path, source, top_k)

    def verdicts(self, results: Results) -> Exam | None:
        return _judged(self, results, {each.id: (each.question, each.answer) for each in self._questions})

    def measured(self, results: Results) -> Iterator[Measured]:
        tally, answered = Tally(self.measure), results.of(self.exam())
        asked = [each for each in self._questions if each.facts]
        for question in asked:
            if question.id in answered:
                values = answered[question.id]
                lacks = ["an answer"] if values is None else question.missing(self._text(values))
                tally.add(question.id, not lacks, "lacks " + ", ".join(lacks))
        if asked or self.judge is None:
            note = "" if asked else "no question has facts"
            yield tally.measured(self.of, "facts", note or _unasked([each.id for each in asked], answered))
        if self.judge is not None:
            yield _correct(self, results)

    def _text(self, values: Mapping[str, Any]) -> str:
        return without_thought(values["answer"], self.export)


class Tone(Measure):
    """Whether the user's side of a row has the voice of its persona: to a judge, who is asked about
    the held-out rows, or by which other rows it is nearest to, among so many of all."""

    def __init__(self, plan: Plan, of: str, measure: MeasurePlan) -> None:
        super().__init__(plan, of, measure)
        self._column, self._personas = voices_of(plan, self.export)

    def see(self, item: Item, asked: bool) -> None:
        if asked or self.judge is None:
            self.items.append(item)
        if self.judge is None and len(self.items) >= 2 * _MOST_HEARD:
            self.items = _some(self.items)

    def exam(self) -> Exam | None:
        if self.judge is None:
            return None
        return exams.voices(self.export.name, self.judge, self._personas, _user_side(self.items))

    def measured(self, results: Results) -> Iterator[Measured]:
        wanted = {item.id: item.columns[self._column] for item in self.items}
        if self.judge is None:
            heard = nearest_voices(_user_side(_some(self.items)), wanted)
            by, note = "nearest voice", "" if heard else "it takes two personas with two rows each"
        else:
            answered = results.of(self.exam())
            heard = {row: values["voice"]["persona"] for row, values in answered.items() if values}
            by, note = f"`{self.judge.name}`", _silent(answered) or _unasked(self._rows, answered)
        tally = Tally(self.measure)
        for row, persona in heard.items():
            tally.add(row, persona == wanted[row], f"is {wanted[row]} and sounds like {persona}")
        yield tally.measured(self.of, by, note)


def _some(items: list[Item]) -> list[Item]:
    """So many of some rows as are compared with each other: the same ones whatever their order, and
    most of them still when there are more."""
    return sorted(items, key=lambda item: digest(item.id))[:_MOST_HEARD]


def _user_side(items: Iterable[Item]) -> dict[str, str]:
    return {
        item.id: "\n".join(each["content"] for each in item.said if each["role"] == "user") for item in items
    }


def _judged(measure: Measure, results: Results, wanted: Mapping[str, tuple[str, str]]) -> Exam | None:
    """What a judge is asked about a student's answers; `wanted` has the question and the
    reference for each."""
    exam = measure.exam()
    if measure.judge is None or exam is None:
        return None
    answered = {
        row: {
            "question": wanted[row][0],
            "reference": wanted[row][1],
            "answer": without_thought(values["answer"], measure.export),
        }
        for row, values in results.of(exam).items()
        if values is not None
    }
    return exams.verdicts(exam.name, measure.judge, answered)


def _correct(measure: Measure, results: Results) -> Measured:
    """The share of answers that a judge finds correct; no answer is none."""
    assert measure.judge is not None
    exam, tally = measure.exam(), Tally(measure.measure)
    assert exam is not None
    answered, judged = results.of(exam), results.of(measure.verdicts(results))
    for row, values in answered.items():
        verdict = judged.get(row)
        if values is None:
            tally.add(row, False, "no answer")
        elif verdict is not None:
            tally.add(row, verdict["verdict"]["correct"], verdict["verdict"]["why"])
    said = [row for row, values in answered.items() if values is not None]
    note = _silent(judged) or _unasked([ask.row for ask in exam.asks], answered) or _unasked(said, judged)
    return tally.measured(measure.of, f"`{measure.judge.name}`", note)


def _asked(item: Item) -> str:
    """The question of a row, with what was said before it."""
    return str(item.asked[0]["content"]) if len(item.asked) == 1 else chat(item.asked)


def _nothing(tally: Tally) -> str:
    """Why there was nothing to judge."""
    if tally.judged:
        return ""
    among = tally.measure.arguments.get("among")
    if among is not None:
        return f"none of the rows is made as {among}"
    return "no answer is to be JSON" if tally.measure.name == "json_errors" else "there are no answers"


def _silent(judged: Mapping[str, Mapping[str, Any] | None]) -> str:
    number = sum(values is None for values in judged.values())
    return f"no verdict on {number:,}" if number else ""


def _unasked(wanted: Sequence[str], answered: Mapping[str, object]) -> str:
    missing = sum(row not in answered for row in wanted)
    return f"{missing:,} of {len(wanted):,} not asked" if missing else ""


def _model(plan: Plan, measure: MeasurePlan, role: str) -> ModelPlan | None:
    name = measure.arguments.get(role)
    return None if name is None else plan.model(str(name))
