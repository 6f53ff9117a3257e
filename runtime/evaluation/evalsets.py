"""What models are asked for the sake of a measure, as cohorts like any other: so that asking is
scheduled, retried, logged and never paid for twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json, digest
from synth.compiler.plan.judging.judge_steps import JUDGED
from synth.compiler.plan.judging.marking import BEFORE, marking
from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.models import ModelPlan, Sampling
from synth.compiler.plan.steps import CallPlan, FilterPlan, JsonOutput, RefPlan, StepPlan, Template
from synth.runtime.evaluation.evalset import EvalEntry, EvalSet
from synth.runtime.evaluation.items import Item
from synth.runtime.evaluation.questions import Question

# A judge that gives no verdict is asked again so often.
_RETRY = 2


def answers(of: str, student: ModelPlan, items: Iterable[Item]) -> EvalSet:
    """A student answers in place of each row's last trained answer.  Every measure of these
    answers is taken of the same ones."""
    items = tuple(items)
    step = StepPlan(
        name="answer",
        role="model",
        model=student.name,
        sees="row",
        sampling=_bounded(student, (item.given for item in items)),
        # An answer that finds no end is what is to be measured.
        on_length="keep",
    )
    return EvalSet.of(
        f"{of}.{student.name}",
        [step],
        (EvalEntry(item.id, {"row": item.asked, **item.beside}) for item in items),
    )


def calls(of: str, student: ModelPlan, items: Iterable[Item]) -> EvalSet:
    """A student answers in place of each trained message that calls tools or could, with the row's own."""
    found = [(item, calling) for item in items for calling in item.calling]
    step = StepPlan(
        name="calls",
        role="model",
        model=student.name,
        sees="row",
        calls_tools=True,
        max_tool_calls=_MOST_CALLS,
        sampling=_bounded(student, (canonical_json(list(calling.calls)) for _, calling in found)),
    )
    entries = (EvalEntry(calling.id, {"row": calling.asked, "tools": item.tools}) for item, calling in found)
    return EvalSet.of(f"{of}.{student.name}.calls", [step], entries)


def likelihood(of: str, student: ModelPlan, items: Iterable[Item]) -> EvalSet:
    """How likely a student finds each row's last trained answer, given what is before it."""
    step = StepPlan(name="score", model=student.name, sees="row", scores=True)
    entries = (
        EvalEntry(item.id, {"row": [*item.asked, {"role": "model", "content": item.given}]}) for item in items
    )
    return EvalSet.of(f"{of}.{student.name}.likelihood", [step], entries)


# What simulated students call at most; nothing of it is carried out.
_MOST_CALLS = 64

_GROUNDED = (
    "Answer the question from the passages alone, in the language of the question and in as few "
    "sentences as it takes.  When the passages do not hold the answer, say that the information is "
    "not found.\n\nPassages:\n"
)


def questions(student: ModelPlan, asked: Iterable[Question], path: str, source: str, top_k: int) -> EvalSet:
    """A student answers questions from passages that are looked up for each."""
    asked = tuple(asked)
    looked_up: dict[str, Any] = {"source": source, "query": RefPlan(path=("question",)), "top_k": top_k}
    call = CallPlan(name="retrieve", arguments={**looked_up, "pick": "nearest", "or_none": True})
    evidence = StepPlan(name="evidence", call=call)
    passages = RefPlan(path=("evidence",), filters=(FilterPlan(name="numbered"),))
    answer = StepPlan(
        name="answer",
        role="model",
        model=student.name,
        prompt=(_GROUNDED, passages, "\n\nQuestion:\n", RefPlan(path=("question",))),
        sampling=_bounded(student, (each.answer for each in asked)),
        needs=("evidence",),
        on_length="keep",
    )
    # Other questions, and other passages for them, are another set.
    name = f"{student.name}.{source}.{digest([path, top_k])[:6]}"
    entries = (EvalEntry(each.id, {"question": each.question}) for each in asked)
    return EvalSet.of(name, [evidence, answer], entries)


_CORRECT: Template = (
    "Judge an answer to a question against a reference.\n\nQuestion:\n",
    RefPlan(path=("question",)),
    "\n\nReference answer:\n",
    RefPlan(path=("reference",)),
    "\n\nAnswer to judge:\n",
    RefPlan(path=("answer",)),
    "\n\nIt is correct when it says what the reference says and nothing that contradicts it; wording "
    "and length do not matter.  Reply with JSON: `why` in one sentence, then `correct`.",
)


def verdicts(evalset: str, judge: ModelPlan, answered: Mapping[str, Mapping[str, str]]) -> EvalSet:
    """A judge says of each answer of an evaluation set whether it is correct.  `answered` has, by row, the
    `question`, the `reference` and the `answer`."""
    fields = {"why": {"type": "string", "maxLength": 400}, "correct": {"type": "boolean"}}
    step = StepPlan(
        name="verdict",
        model=judge.name,
        output=_object(fields),
        prompt=_CORRECT,
        sampling=_steady(judge),
        retry=_RETRY,
    )
    entries = (EvalEntry(row, given) for row, given in answered.items())
    return EvalSet.of(f"{evalset}.by.{judge.name}", [step], entries)


def marks(
    export: str,
    of: str,
    rubric: RubricPlan,
    judges: Sequence[ModelPlan],
    shown: Mapping[str, tuple[str, str]],
) -> EvalSet:
    """Judges mark answers by a rubric.  `shown` has, by row, what was said before and the answer."""
    steps = [
        marking("answer", rubric, judge.name, judge.sampling, {}).model_copy(update={"name": judge.name})
        for judge in judges
    ]
    entries = (EvalEntry(row, {BEFORE: before, JUDGED: said}) for row, (before, said) in shown.items())
    return EvalSet.of(f"{export}.{of}.marked.{rubric.name}", steps, entries)


def voices(of: str, judge: ModelPlan, personas: Mapping[str, str], said: Mapping[str, str]) -> EvalSet:
    """A judge says whose voice it hears.  `personas` are descriptions by name; `said` what the
    user's side of each row says."""
    listed = "\n".join(f"- {name}: {personas[name]}" for name in sorted(personas))
    step = StepPlan(
        name="voice",
        model=judge.name,
        output=_object({"persona": {"type": "string", "enum": sorted(personas)}}),
        prompt=(
            f"These are some people and how each of them speaks:\n{listed}\n\nOne of them said:\n",
            RefPlan(path=("said",)),
            "\n\nWho was it?  Reply with JSON: `persona`, one of the names above.",
        ),
        sampling=_steady(judge),
        retry=_RETRY,
    )
    entries = (EvalEntry(row, {"said": text}) for row, text in said.items())
    return EvalSet.of(f"{of}.voices.{judge.name}", [step], entries)


def _object(fields: dict[str, Any]) -> JsonOutput:
    return JsonOutput(
        schema_={
            "type": "object",
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        }
    )


# The least that a student is given for an answer, in tokens.
_LEAST = 256


def _bounded(student: ModelPlan, answers: Iterable[str]) -> Sampling:
    """As `_steady`, with a limit on the tokens of an answer where the recipe gives none: a base model
    goes on to the end of its context.

    The longest answer of the rows decides, with a margin for tokenizers that cut it finer; the limit
    is a power of two, so that it does not change with every row.
    """
    sampling = _steady(student)
    if sampling.max_tokens is not None:
        return sampling
    longest = max((len(answer.encode("utf-8", "replace")) for answer in answers), default=0)
    limit = max(_LEAST, 1 << (2 * longest // 3).bit_length())
    return sampling.model_copy(update={"max_tokens": limit})


def _steady(model: ModelPlan) -> Sampling:
    """As the recipe declares the model, and without chance where it says nothing of it."""
    if model.sampling.temperature is not None:
        return model.sampling
    return model.sampling.model_copy(update={"temperature": 0.0})
