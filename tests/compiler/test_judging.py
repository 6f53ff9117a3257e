"""Rubrics, candidates and picks in plans: who is asked what, from what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.base.diagnostics.source import Source
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_file, compile_text
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.compiler.stdlib.verdict import Refusal, refusal
from synth.dsl.format import format_source
from tests.kit.support import synth

HEAD = """edition 1

recipe judged { seed = 1 }

model writer: model<chat> from openai("writer") { temperature = 1.0 }
model judge: model<chat, json> from openai("judge") { max_tokens = 900 }
model cool: model<chat, json> from openai("cool") { temperature = 0.2 }

rubric quality by judge { helpful 1..5 = "Does it help?", brief -1..1 = "Is it brief?" }

"""
EXPORT = '\nexport train: messages from chats to "out/train"\n'


def steps(body: str, before: str = "", over: str = "times 4") -> dict[str, StepPlan]:
    plan = compile_text(f"{HEAD}{before}conversation chats {over} {{\n{body}\n}}\n{EXPORT}").plan
    return {step.name: step for step in plan.cohorts[0].steps}


def errors(body: str, before: str = "", after: str = "") -> list[tuple[str, str]]:
    """Codes and messages of what is wrong."""
    with pytest.raises(RecipeError) as caught:
        compile_text(f"{HEAD}{before}conversation chats times 4 {{\n{body}\n}}\n{after}{EXPORT}")
    return [(diagnostic.code, diagnostic.message) for diagnostic in caught.value.diagnostics]


ASK = '  turn ask: user = "What of tides?"\n'
ANSWER = "  turn answer: model by writer { sees = transcript, SAID }\n"


def answer(settings: str) -> str:
    return ASK + ANSWER.replace("SAID", settings)


def prompt(step: StepPlan) -> str:
    return "".join(
        part if isinstance(part, str) else "<" + ".".join(part.path) + ">" for part in step.prompt or ()
    )


def test_a_judge_is_asked_each_question_once_and_gives_reasons_first() -> None:
    (judging,) = steps(answer("candidates = 4, marks = quality(ask), pick = best"))["answer"].marked_by
    assert (judging.name, judging.model, judging.retry) == ("answer.quality", "judge", 2)
    assert (judging.sampling.temperature, judging.sampling.max_tokens) == (0.0, 900)
    assert isinstance(judging.output, JsonOutput)
    schema: Any = judging.output.schema_
    assert schema["required"] == ["helpful", "brief"]
    mark = schema["properties"]["brief"]
    assert list(mark["properties"]) == ["why", "mark"]
    assert mark["properties"]["mark"] == {"type": "integer", "minimum": -1, "maximum": 1}
    text = prompt(judging)
    assert "- brief, from -1 (least) to 1 (most): Is it brief?" in text
    assert "What comes before the text:\n<all before>" in text
    assert "ask:\n<ask>" in text
    assert text.index("ask:\n<ask>") < text.index("The text:\n<the value>")


def test_each_of_several_judges_keeps_its_own_temperature() -> None:
    fair = 'rubric fair by [judge, cool] { fair 1..5 = "Is it fair?" }\n'
    made = steps(answer("marks = fair") + '  let m = quality("{{ ask }}: {{ answer }}", ask)', fair)
    assert [(step.name, step.sampling.temperature) for step in made["answer"].marked_by] == [
        ("answer.fair.judge", 0.0),
        ("answer.fair.cool", 0.2),
    ]
    (judging,) = made["m"].marked_by
    assert prompt(judging).count("What comes before") == 0
    assert "The text:\n<ask>: <answer>" in prompt(judging)
    assert made["m"].needs == ("ask", "answer")


@pytest.mark.parametrize(
    ("settings", "of", "reason"),
    [
        ("marked(quality, 5..)", ("quality", "total"), "quality.total is 4, and 5.. is asked for"),
        (
            "marked(quality.brief, ..-0.5)",
            ("quality", "brief"),
            "quality.brief is 0, and ..-0.5 is asked for",
        ),
        ("marked(answer.quality.helpful, 5..5)", ("quality", "helpful"), None),
    ],
)
def test_marks_of_the_value_judged_are_checked(
    settings: str, of: tuple[str, ...], reason: str | None
) -> None:
    made = steps(answer(f"marks = quality, check {{ {settings} }}, retry = 1"))["answer"]
    (check,) = made.checks
    assert (check.name, check.of) == ("marked", of)
    # They are not there yet when all else is judged.
    assert refusal(made, "Yes.", {}) is None
    if reason is not None:
        marks = {"quality": {"helpful": 4, "brief": 0, "total": 4, "why": ""}}
        alone = made.model_copy(update={"rubric": None})
        assert refusal(alone, marks, {}) == Refusal("marked", reason)


def test_marks_beside_a_value_are_found_by_plain_paths() -> None:
    keep = StepPlan(
        name="keep",
        checks=(CheckPlan(name="marked", of=("answer", "quality", "total"), arguments={"range": [5, None]}),),
    )
    values = {"answer": "Yes.", "answer.quality": {"total": 4}}
    assert refusal(keep, values, values) == Refusal(
        "marked", "answer.quality.total is 4, and 5.. is asked for"
    )
    assert refusal(keep, values | {"answer": None, "answer.quality": None}, {}) is None


def test_numbers_of_rows_and_of_json_can_be_asked_to_be_in_a_range(tmp_path: Path) -> None:
    (tmp_path / "made.recipe").write_text(
        HEAD
        + """schema Row { id: text, score: number? }
schema Card { question: text, level: count(1..5) }
source rows: Row from jsonl("rows.jsonl", id = "id") { keep { marked(score, 0.5..) } }
conversation chats over row in rows {
  step card: json<Card> by judge {
    prompt = "{{ row.id }} {{ Card | json_schema }}"
    check { marked(card.level, 2..4) }
    retry = 2
  }
  turn ask: user = "{{ card.question }}"
  turn answer: model by writer { sees = transcript, marks = quality(row.id, card, style = "Plain.") }
}
"""
        + EXPORT,
        "utf-8",
    )
    plan = compile_file(tmp_path / "made.recipe").plan
    assert [check.of for check in plan.source("rows").keep] == [("score",)]
    assert [check.of for check in plan.cohorts[0].step("card").checks] == [("level",)]
    # What a judge is shown of a row decides what is made anew.
    assert plan.cohorts[0].rows is not None
    assert plan.cohorts[0].rows.uses == (("row", "id"),)
    assert "style:\nPlain." in prompt(plan.cohorts[0].step("answer").marked_by[0])


def test_candidates_agree_on_what_a_function_gives(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("def last(text: str) -> str:\n    return text.split()[-1]\n")
    recipe = tmp_path / "made.recipe"
    before = 'use lib from "lib.py"\n'
    body = answer("candidates = 5, pick = most_common(lib.last(answer))")
    body += "  keep { marked(answer.agreement, 0.6..) }\n"
    text = f"{HEAD}{before}conversation chats times 4 {{\n{body}}}\n{EXPORT}"
    recipe.write_text(text.replace("rubric quality", "rubric unused"), "utf-8")
    compiled = compile_file(recipe)
    pick = compiled.plan.cohorts[0].step("answer").pick
    assert pick.call is not None
    assert (pick.by, pick.of, pick.call.name) == ("most_common", (), "lib.last")
    assert pick.call.arguments == {"text": RefPlan(path=("answer",))}
    assert [function.name for function in compiled.plan.functions] == ["lib.last"]
    assert "`unused` is never used" in [
        warning.message for warning in compiled.warnings if warning.code == "W701"
    ]
    for wrong, message in (
        ("lib.last(ask)", "`lib.last` is not given `answer`, so there is nothing to agree on"),
        ("ask", "`ask` is the same for all candidates of `answer`"),
        ("answer.label", "`answer` has no `label`"),
    ):
        recipe.write_text(text.replace("lib.last(answer)", wrong), "utf-8")
        with pytest.raises(RecipeError) as caught:
            compile_file(recipe)
        assert message == next(
            diagnostic.message for diagnostic in caught.value.diagnostics if diagnostic.code != "W701"
        )


@pytest.mark.parametrize(
    ("body", "before", "found"),
    [
        (
            answer("candidates = 65"),
            "",
            ("E202", "`candidates` takes a count(1..64), and `65` is more than 64"),
        ),
        (
            answer("marks = quality(answer)"),
            "",
            ("E110", "`answer` cannot be quoted in itself"),
        ),
        (
            answer("marks = fine"),
            'rubric fine by writer { fine 1..5 = "Is it?" }\n',
            ("E401", "`writer` cannot produce json, which marks are"),
        ),
        (
            answer("marks = twice"),
            'rubric twice by [judge, judge] { fine 1..5 = "Is it?" }\n',
            ("E104", "`judge` marks twice"),
        ),
        (answer("marks = empty"), "rubric empty by judge { }\n", ("E107", "`empty` asks nothing")),
        (
            answer("marks = void"),
            'rubric void by judge { fine 1..5 = " " }\n',
            ("E202", "`fine` asks nothing"),
        ),
        (
            answer("pick = worst"),
            "",
            ("E202", "`pick` is `first`, `best` or `most_common`, not `worst`"),
        ),
        (
            answer("candidates = 2, pick = best(answer)"),
            "",
            ("E202", "`best` takes nothing"),
        ),
        (
            answer("candidates = 2, pick = majority(answer)"),
            "",
            ("E203", "candidates are not picked by `majority`"),
        ),
        (
            answer('revise = "{{ refused }}", retry = 1')
            .replace("turn ask", "turn reason")
            .replace("ask ", "reason "),
            "",
            ("E104", "`reason` is a turn, and in `revise` it is why it was refused"),
        ),
        (
            ASK + '  step made: json<Made> by judge { prompt = "{{ ask }}", marks = quality }\n'
            '  turn answer: model = "{{ made.quality }}"\n',
            "schema Made { quality: text }\n",
            ("E104", "`made` has a field `quality`, and its marks would be called so too"),
        ),
        (
            ASK
            + '  let hard = "x" when nth in 2..\n'
            + "  turn answer: model by writer { sees = transcript, marks = quality(hard) }\n",
            "",
            ("E111", "`hard` is not there in every sample in which `answer` is"),
        ),
        (
            answer("marks = quality") + "  let m = quality()\n",
            "",
            ("E202", "`quality` marks a text, which is not given"),
        ),
        (
            answer("marks = quality") + '  turn more: user = "{{ answer.quality }}"\n',
            "",
            ("E201", "`answer.quality` is a quality; a template takes text"),
        ),
        (
            answer("check { marked(ask, 3..) }, retry = 1"),
            "",
            ("E202", "`ask` is not of `answer`, which is what is judged here"),
        ),
        (
            answer("check { marked(4.., 3..) }, retry = 1"),
            "",
            ("E202", "`marked` names the number that is to be in a range"),
        ),
        (
            answer("checks = [good], retry = 1"),
            "check good: text { marked(quality, 3..) }\n",
            ("E202", "`marked` says by its path what it is of, and a check of its own is of any text"),
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(body: str, before: str, found: tuple[str, str]) -> None:
    assert found in errors(body, before)


def test_what_was_refused_is_known_where_it_is_revised() -> None:
    body = answer('retry = 1, check { length(9..) }, revise = "{{ answer }} {{ reason }}"')
    body += '  turn more: user = "{{ refused }}"\n'
    with pytest.raises(RecipeError) as caught:
        compile_text(f"{HEAD}conversation chats times 4 {{\n{body}}}\n{EXPORT}")
    assert [(diagnostic.message, diagnostic.hint) for diagnostic in caught.value.diagnostics] == [
        ("`answer` cannot be quoted in itself", "what was refused is `{{ refused }}`"),
        ("`refused` is not defined here", "only `revise` knows what was refused, and the reason"),
    ]


def test_marks_that_are_misspelt_are_reported_once() -> None:
    body = answer("marks = qualty, check { marked(quality, 3..) }, retry = 1")
    body += '  turn more: user = "{{ answer.quality.why }}" when answer.quality.total in 3..\n'
    body += "  keep { marked(answer.quality.helpful, 4..) }\n"
    assert errors(body) == [("E101", "`qualty` is not defined here")]


def test_pairs_by_marks_are_of_one_turn_and_of_marks() -> None:
    body = answer("candidates = 2, marks = quality, pick = best")
    padded = 'turn padded: model by writer { prompt = "{{ chats.ask }}" }'
    for pair, fault in (
        (
            "chosen = best(chats.answer), rejected = padded, margin = 1",
            (
                "E108",
                "`margin` is between two marks of the conversation, and `rejected` is written for the pair",
            ),
        ),
        (
            "chosen = best(chats.answer), rejected = worst(chats.answer), margin = 0",
            ("E202", "`margin` is above 0, not 0"),
        ),
        (
            "chosen = median(chats.answer), rejected = padded",
            ("E203", "`median` gives no answer"),
        ),
    ):
        assert fault in errors(body, after=f"preference pairs from chats {{ {padded}\n{pair} }}\n")


def test_compile_says_how_many_answers_there_are_and_which_is_taken(tmp_path: Path) -> None:
    body = answer("candidates = 4, marks = quality, pick = best")
    sides = "chosen = best(chats.answer), rejected = worst(chats.answer)"
    pairs = f"preference pairs from chats {{ {sides}, margin = 2 }}"
    recipe = tmp_path / "made.recipe"
    recipe.write_text(f"{HEAD}conversation chats times 4 {{\n{body}}}\n{pairs}\n{EXPORT}", "utf-8")
    out = synth("compile", recipe, cwd=tmp_path).out
    assert "  answer: 4 candidates, marked by quality (judge), the best of those that hold is taken\n" in out
    assert "pairs: all pairs from chats, with marks 2 apart at least\n" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("  chats.")] == [
        ["chats.answer", "writer", "16"],
        ["chats.answer.quality", "judge", "16"],
    ]


def test_rubrics_are_laid_out_as_other_blocks_are() -> None:
    text = HEAD.replace("{ helpful 1..5 =", "{\n\n   helpful   1..5   =")
    written = format_source(Source("made.recipe", text)) or ""
    assert '  helpful 1..5 = "Does it help?"' in written
    assert '  brief -1..1 = "Is it brief?"' in written
    assert format_source(Source("made.recipe", written)) == written
