"""What models are asked for the sake of a measure, as cohorts like any other: so that asking is
scheduled, retried, logged and never paid for twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler.plan import (
    CallPlan,
    CohortPlan,
    FilterPlan,
    JsonOutput,
    ModelPlan,
    RefPlan,
    Sampling,
    StepPlan,
    Template,
)
from runtime.evaluation.asks import Ask
from runtime.evaluation.items import Item


@dataclass(frozen=True, slots=True)
class Exam:
    """Steps, and the rows that they are put about."""

    cohort: CohortPlan
    asks: tuple[Ask, ...]

    @property
    def name(self) -> str:
        return self.cohort.name


def answers(name: str, student: ModelPlan, items: Sequence[Item]) -> Exam:
    """A student answers in place of each row's last trained answer."""
    step = StepPlan(name="answer", role="model", model=student.name, sees="row", sampling=_steady(student))
    return _exam(name, (step,), [Ask(item.id, {"row": _said(item.asked)}) for item in items])


def likelihood(name: str, student: ModelPlan, items: Sequence[Item]) -> Exam:
    """How likely a student finds each row's last trained answer, given what is before it."""
    step = StepPlan(name="score", model=student.name, sees="row", scores=True)
    asks = [
        Ask(item.id, {"row": [*_said(item.asked), {"role": "model", "content": item.last.text}]})
        for item in items
    ]
    return _exam(name, (step,), asks)


_GROUNDED = (
    "Answer the question from the passages alone, in the language of the question and in as few "
    "sentences as it takes.  When the passages do not hold the answer, say that the information is "
    "not found."
)

_JUDGE_ANSWER: Template = (
    "Judge an answer to a question against a reference.\n\nQuestion:\n",
    RefPlan(path=("question",)),
    "\n\nReference answer:\n",
    RefPlan(path=("reference",)),
    "\n\nAnswer to judge:\n",
    RefPlan(path=("answer",)),
    "\n\nIt is correct when it says what the reference says and nothing that contradicts it; wording "
    "and length do not matter.  Reply with JSON: `why` in one sentence, then `correct`.",
)


def questions(
    name: str,
    student: ModelPlan,
    judge: ModelPlan | None,
    asked: Sequence[Mapping[str, Any]],
    source: str,
    top_k: int,
) -> Exam:
    """A student answers questions from passages that are looked up for each.

    `asked` have `id`, `question` and `answer`, the reference that a judge, if any, judges by.
    """
    evidence = StepPlan(
        name="evidence",
        call=CallPlan(
            name="retrieve",
            arguments={
                "source": source,
                "query": RefPlan(path=("question",)),
                "top_k": top_k,
                "pick": "nearest",
            },
        ),
    )
    answer = StepPlan(
        name="answer",
        role="model",
        model=student.name,
        prompt=(
            f"{_GROUNDED}\n\nPassages:\n",
            RefPlan(path=("evidence",), filters=(FilterPlan(name="numbered"),)),
            "\n\nQuestion:\n",
            RefPlan(path=("question",)),
        ),
        sampling=_steady(student),
        needs=("evidence",),
    )
    steps = (evidence, answer, *(() if judge is None else (_verdict(judge),)))
    asks = [
        Ask(str(each["id"]), {"question": each["question"], "reference": each["answer"]}) for each in asked
    ]
    return _exam(name, steps, asks)


def grounded(name: str, student: ModelPlan, judge: ModelPlan, items: Sequence[Item]) -> Exam:
    """A student answers in place of each row's last answer, which is the reference."""
    answer = StepPlan(name="answer", role="model", model=student.name, sees="row", sampling=_steady(student))
    asks = [
        Ask(
            item.id,
            {
                "row": _said(item.asked),
                "question": item.asked[-1]["content"] if item.asked else "",
                "reference": item.last.text,
            },
        )
        for item in items
    ]
    return _exam(name, (answer, _verdict(judge)), asks)


def _verdict(judge: ModelPlan) -> StepPlan:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"why": {"type": "string", "maxLength": 400}, "correct": {"type": "boolean"}},
        "required": ["why", "correct"],
        "additionalProperties": False,
    }
    return StepPlan(
        name="verdict",
        model=judge.name,
        output=JsonOutput(schema_=schema),
        prompt=_JUDGE_ANSWER,
        sampling=_steady(judge),
        retry=2,
        needs=("answer",),
    )


def voices(name: str, judge: ModelPlan, personas: Mapping[str, str], said: Mapping[str, str]) -> Exam:
    """A judge says whose voice it hears.  `personas` are descriptions by name; `said` what the
    user's side of each row says."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"persona": {"type": "string", "enum": sorted(personas)}},
        "required": ["persona"],
        "additionalProperties": False,
    }
    listed = "\n".join(f"- {name}: {personas[name]}" for name in sorted(personas))
    step = StepPlan(
        name="voice",
        model=judge.name,
        output=JsonOutput(schema_=schema),
        prompt=(
            f"These are some people and how each of them speaks:\n{listed}\n\nOne of them said:\n",
            RefPlan(path=("said",)),
            "\n\nWho was it?  Reply with JSON: `persona`, one of the names above.",
        ),
        sampling=_steady(judge),
        retry=2,
    )
    return _exam(name, (step,), [Ask(row, {"said": text}) for row, text in said.items()])


def _exam(name: str, steps: tuple[StepPlan, ...], asks: Sequence[Ask]) -> Exam:
    return Exam(CohortPlan(name=name, quota=len(asks), times=len(asks), steps=steps), tuple(asks))


def _said(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"role": each["role"], "content": each["content"]} for each in messages]


def _steady(model: ModelPlan) -> Sampling:
    """As the recipe declares the model, and without chance where it says nothing of it."""
    if model.sampling.temperature is not None:
        return model.sampling
    return model.sampling.model_copy(update={"temperature": 0.0})
