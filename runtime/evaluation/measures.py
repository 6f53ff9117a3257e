"""The measures: whom each asks what, and what the answers come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from compiler.checks import run_check
from compiler.plan import EvaluationPlan, MeasurePlan, ModelPlan, Plan
from dsl.errors import ConfigError
from runtime.evaluation import exams
from runtime.evaluation.exams import Exam
from runtime.evaluation.faults import FAULTS, concerns
from runtime.evaluation.items import Answer, Item, Items
from runtime.evaluation.questions import Question, read_questions
from runtime.evaluation.verdicts import Measured, Tally
from runtime.evaluation.voices import nearest_voices

# Measures of answers, whoever gives them.
OF_ANSWERS = frozenset((*FAULTS, "refusals"))


@dataclass(frozen=True, slots=True)
class Results:
    """What was answered: by exam, then by row, the values of its steps, or None."""

    values: Mapping[str, Mapping[str, Mapping[str, Any] | None]]

    def of(self, exam: Exam) -> Mapping[str, Mapping[str, Any] | None]:
        return self.values.get(exam.name, {})


def examine(plan: Plan, evaluation: EvaluationPlan, each: MeasurePlan, items: Items) -> Exam | None:
    """What models have to be asked for a measure; None where the dataset says it all."""
    student, judge = _model(plan, each, "student"), _model(plan, each, "judge")
    if each.name in OF_ANSWERS:
        # One answer serves all measures of a student.
        return (
            None
            if student is None
            else exams.answers(f"{evaluation.name}.{student.name}", student, items.held_out)
        )
    if each.name == "perplexity":
        assert student is not None, "the compiler asks for it"
        return exams.likelihood(f"{evaluation.name}.{student.name}.likelihood", student, items.held_out)
    if each.name == "rag_accuracy":
        assert student is not None, "the compiler asks for it"
        name = f"{evaluation.name}.{student.name}.grounded"
        asked = _questions(plan, each)
        if asked is not None:
            source, top_k = str(each.arguments["source"]), int(str(each.arguments["top_k"]))
            given = [{"id": q.id, "question": q.question, "answer": q.answer} for q in asked]
            return exams.questions(name, student, judge, given, source, top_k)
        assert judge is not None, "the compiler asks for it"
        return exams.grounded(name, student, judge, items.held_out)
    if each.name == "tone" and judge is not None:
        said = {item.id: _user_side(item) for item in items.held_out}
        return exams.voices(f"{evaluation.name}.{judge.name}.voices", judge, _personas(items), said)
    return None


def measure(
    plan: Plan, evaluation: EvaluationPlan, each: MeasurePlan, items: Items, results: Results
) -> Iterator[Measured]:
    """What a measure comes to: one line, or one for each way it is judged."""
    exam = examine(plan, evaluation, each, items)
    answered = results.of(exam) if exam is not None else {}
    if each.name in FAULTS:
        yield _faults(each, items, exam, answered)
    elif each.name == "refusals":
        yield _refusals(each, items, exam, answered)
    elif each.name == "perplexity":
        yield _perplexity(each, answered)
    elif each.name == "rag_accuracy":
        yield from _accuracy(plan, each, answered)
    else:
        yield _tone(each, items, exam, answered)


def _faults(
    each: MeasurePlan, items: Items, exam: Exam | None, answered: Mapping[str, Mapping[str, Any] | None]
) -> Measured:
    tally, fault = Tally(), FAULTS[each.name]
    for item, texts in _given(items, exam, answered):
        for answer in texts:
            if answer is None:
                tally.add(item.id, True, "no answer")
            elif concerns(each, answer):
                reason = fault(each.arguments, answer)
                tally.add(item.id, reason is not None, reason or "")
    note = "" if tally.judged else "no answer is to be JSON" if each.name == "json_errors" else "no answers"
    return _share(each, tally, note)


def _given(
    items: Items, exam: Exam | None, answered: Mapping[str, Mapping[str, Any] | None]
) -> Iterator[tuple[Item, list[Answer | None]]]:
    """The answers to judge: the dataset's own, or the student's in place of each row's last."""
    if exam is None:
        for item in items.all():
            yield item, list(item.answers)
        return
    for item in items.held_out:
        if item.id in answered:
            values = answered[item.id]
            yield item, [None if values is None else Answer(values["answer"], item.last.schema)]


def _refusals(
    each: MeasurePlan, items: Items, exam: Exam | None, answered: Mapping[str, Mapping[str, Any] | None]
) -> Measured:
    """Of the rows that are to be refused, those whose last answer says so."""
    tally, among = Tally(), each.arguments.get("among")
    for item, texts in _given(items, exam, answered):
        if among is not None and among not in item.columns.values():
            continue
        last = texts[-1]
        said = last is not None and run_check("no_words", {"words": each.arguments["phrases"]}, last.text)
        tally.add(item.id, bool(said), "" if last is None else last.text[:80], example=not said)
    return _share(each, tally, "" if tally.judged else f"no row is {among}" if among else "no answers")


def _perplexity(each: MeasurePlan, answered: Mapping[str, Mapping[str, Any] | None]) -> Measured:
    """Of all scored tokens together: long answers weigh more."""
    scores = [values["score"] for values in answered.values() if values is not None]
    tokens = sum(score["tokens"] for score in scores)
    value = exp(-sum(score["logprob"] for score in scores) / tokens) if tokens else None
    missing = sum(values is None for values in answered.values())
    note = f"{tokens:,} tokens" + (f", {missing} rows not scored" if missing else "")
    return _measured(each, value, "", len(scores), note)


def _accuracy(
    plan: Plan, each: MeasurePlan, answered: Mapping[str, Mapping[str, Any] | None]
) -> Iterator[Measured]:
    asked = _questions(plan, each)
    if asked is not None:
        tally = Tally()
        for question in asked:
            if question.id in answered and question.facts:
                values = answered[question.id]
                missing = ["no answer"] if values is None else question.missing(values["answer"])
                tally.add(question.id, not missing, "lacks " + ", ".join(missing), example=bool(missing))
        yield _share(each, tally, "by facts")
    if "judge" in each.arguments:
        tally = Tally()
        for row, values in answered.items():
            correct = values is not None and values["verdict"]["correct"]
            reason = "no answer" if values is None else values["verdict"]["why"]
            tally.add(row, bool(correct), reason, example=not correct)
        yield _share(each, tally, f"by `{each.arguments['judge']}`")


def _tone(
    each: MeasurePlan, items: Items, exam: Exam | None, answered: Mapping[str, Mapping[str, Any] | None]
) -> Measured:
    column = items.persona_column
    held_out = [item for item in items.held_out if exam is None or item.id in answered]
    wanted = {item.id: str(item.columns[column]) for item in held_out}
    if exam is None:
        said = {item.id: _user_side(item) for item in held_out}
        heard: Mapping[str, str | None] = nearest_voices(said, wanted)
        note = "by the nearest voice"
    else:
        heard = {
            row: None if values is None else values["voice"]["persona"] for row, values in answered.items()
        }
        note = f"by `{each.arguments['judge']}`"
    tally = Tally()
    for row, persona in wanted.items():
        reason = f"is {persona} and sounds like {heard.get(row)}"
        tally.add(row, heard.get(row) == persona, reason, example=heard.get(row) != persona)
    return _share(each, tally, note)


def _personas(items: Items) -> Mapping[str, str]:
    if not items.personas:
        raise ConfigError("`tone` needs rows whose persona was drawn: draw one from `personas { }`")
    return items.personas


def _user_side(item: Item) -> str:
    return "\n".join(each["content"] for each in item.messages if each["role"] == "user")


def _questions(plan: Plan, each: MeasurePlan) -> Sequence[Question] | None:
    path = each.arguments.get("questions")
    return None if path is None else read_questions(plan.folder, str(path))


def _model(plan: Plan, each: MeasurePlan, role: str) -> ModelPlan | None:
    name = each.arguments.get(role)
    return None if name is None else plan.model(str(name))


def _share(each: MeasurePlan, tally: Tally, note: str) -> Measured:
    return _measured(each, tally.share, "%", tally.judged, note, tuple(tally.examples))


def _measured(
    each: MeasurePlan,
    value: float | None,
    unit: str,
    judged: int,
    note: str,
    examples: tuple[tuple[str, str], ...] = (),
) -> Measured:
    of = str(each.arguments.get("student", "dataset"))
    return Measured(each.name, of, value, unit, each.at_most, each.at_least, judged, note, examples)
