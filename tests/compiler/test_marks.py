"""What of marks, pairs by them and revisions can never be is refused, with what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from tests.compiler.test_judging import EXPORT, HEAD, answer, errors, steps
from tests.kit.support import synth


@pytest.mark.parametrize(
    ("judges", "asked", "reached"),
    [
        ("judge", "3.2..3.8", False),
        ("judge", "3.2..4", True),
        ("judge", "3.2..", True),
        ("[judge, cool]", "3.2..3.8", True),
        ("[judge, cool]", "3.6..3.9", False),
        ("[judge, cool, third]", "3.3333..3.34", True),
    ],
)
def test_marks_between_those_that_there_are_are_never_had(judges: str, asked: str, reached: bool) -> None:
    before = 'model third: model<chat, json> from openai("third")\n'
    before += f'rubric fair by {judges} {{ fair 1..5 = "Is it fair?", calm 1..5 = "Is it calm?" }}\n'
    own = f"marks = fair, retry = 1, check {{ marked(fair.calm, {asked}) }}"
    under = f'  let odd = "So?" when answer.fair.total in {asked}\n'
    kept = f"  keep {{ marked(answer.fair.fair, {asked}) }}\n"
    body = answer(own) + under + kept
    if reached:
        steps(body, before)
        return
    assert [(code, message.partition(", and ")[2]) for code, message in errors(body, before)] == [
        ("E202", f"never in `{asked}`")
    ] * 3


@pytest.mark.parametrize(
    ("bound", "fault"),
    [
        ("at_least = -1", "`quality` is from 0 to 6, and keeps any such bound"),
        ("at_least = 0", "`quality` is from 0 to 6, and keeps any such bound"),
        ("at_least = 0, at_most = 6", "`quality` is from 0 to 6, and keeps any such bound"),
        ("at_most = -2", "`quality` is from 0 to 6, and keeps no such bound"),
        ("at_least = 5.5", ""),
        ("at_least = 0, at_most = 5", ""),
    ],
)
def test_a_bound_of_an_evaluation_can_be_kept_and_not_kept(bound: str, fault: str) -> None:
    train = EXPORT.replace('"out/train"', '"out/train" { split = 50% }')
    text = f"{HEAD}conversation chats times 4 {{\n{answer('retry = 1')}}}\n{train}"
    text += f"evaluation good of train {{ marked(quality, {bound}) }}\n"
    if not fault:
        compile_text(text)
        return
    with pytest.raises(RecipeError) as caught:
        compile_text(text)
    assert [diagnostic.message for diagnostic in caught.value.diagnostics] == [fault]


SIDES = "chosen = best(chats.answer), rejected = worst(chats.answer)"
PAIRS = f"preference pairs from chats {{ {SIDES}, margin = 1 }}\n"
RANKED = 'export order: ranked from chats to "out/order"\n'
MEASURED = "evaluation good of train { SAID }\n"


@pytest.mark.parametrize(
    ("settings", "after", "message", "hint"),
    [
        (
            "candidates = -1",
            "",
            "`candidates` takes a count(1..64), and `-1` is a number",
            "write `1`",
        ),
        (
            "marks = quality, candidates = 3, pick = most_common(quality.helpful)",
            "",
            "candidates agree on what they say, and `quality.helpful` is what judges say of it",
            "for example `pick = most_common(answer)`; by their marks one is taken with `pick = best`",
        ),
        (
            "marks = quality, candidates = 3, pick = most_common(answer.quality.helpful)",
            "",
            "candidates agree on what they say, and `answer.quality.helpful` is what judges say of it",
            "for example `pick = most_common(answer)`; by their marks one is taken with `pick = best`",
        ),
        (
            "checks = [quality], retry = 1",
            "",
            "`quality` is a rubric, not a check",
            "its marks are asked for below: `check { marked(quality, 4..) }`",
        ),
        (
            'marks = quality, system = "{{ quality }}"',
            "",
            "`quality` is a rubric, which a template cannot print",
            "marks stand beside the answer that is marked, as in `answer.quality.total`; a `check` goes by "
            "them with `marked(quality.total, 4..)`",
        ),
        (
            "marks = quality",
            MEASURED.replace("SAID", "marked(quality, 3..)"),
            "`marked` takes its bound by name, `at_least` or `at_most`",
            "write `at_least = 3`",
        ),
        (
            "marks = quality",
            MEASURED.replace("SAID", "emoji(3%)"),
            "`emoji` takes its bound by name, `at_least` or `at_most`",
            "for example `emoji(at_most = 0%)`",
        ),
        (
            "marks = quality, candidates = 2",
            PAIRS.replace("best(chats.answer)", "best(chats.answer, by = correct)"),
            "`best` is of one turn or step, and takes nothing besides",
            "for example `best(chats.answer)`, by the total of its marks",
        ),
        # What follows from a fault is not said of what it spoils.
        (
            "marks quality, candidates = 2",
            PAIRS + RANKED,
            "`marks` takes no name",
            "for example `marks = quality`",
        ),
        (
            "marks = , candidates = 2",
            PAIRS + RANKED,
            "expected a value, found `,`",
            "a value such as `marks = 10`",
        ),
    ],
)
def test_what_is_meant_is_said_of_a_fault_and_nothing_else(
    settings: str, after: str, message: str, hint: str
) -> None:
    train = EXPORT.replace('"out/train"', '"out/train" { split = 50% }')
    with pytest.raises(RecipeError) as caught:
        compile_text(f"{HEAD}conversation chats times 4 {{\n{answer(settings)}}}\n{after}{train}")
    assert [(diagnostic.message, diagnostic.hint) for diagnostic in caught.value.diagnostics] == [
        (message, hint)
    ]


def test_a_rubric_that_cannot_be_read_is_reported_once() -> None:
    mine = 'rubric mine with judge { fine 1..5 = "Is it?" }\n'
    body = answer("marks = mine, candidates = 2, pick = best, check { marked(mine.fine, 3..) }")
    assert errors(body, mine, PAIRS + RANKED) == [("E002", "expected `:`, `=` or `{`, found `with`")]


def test_a_user_who_has_a_system_text_is_told_to_have_a_prompt() -> None:
    body = answer("retry = 1") + '  turn more: user by writer { sees = transcript, system = "Ask more." }\n'
    with pytest.raises(RecipeError) as caught:
        compile_text(f"{HEAD}conversation chats times 4 {{\n{body}}}\n{EXPORT}")
    assert [
        diagnostic.hint.split(": ")[1] for diagnostic in caught.value.diagnostics if diagnostic.code == "E404"
    ] == ["write `prompt` in place of `system`, and the turns are shown with it"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "candidates", "why"),
    [
        ("best(chats.answer)", "worst(chats.answer)", "retry = 2", "`answer` has one candidate"),
        ("best(chats.answer)", "chats.answer", "retry = 2", "`answer` has one candidate"),
        ("chats.answer", "worst(chats.answer)", "retry = 2", "`answer` has one candidate"),
        (
            "best(chats.answer)",
            "chats.answer",
            "candidates = 3, pick = best",
            "`answer` is the best of its candidates",
        ),
        ("best(chats.answer)", "chats.answer", "candidates = 3", ""),
        ("chats.answer", "worst(chats.answer)", "candidates = 3, pick = best", ""),
        ("best(chats.answer)", "attempts(chats.answer)", "retry = 2", ""),
    ],
)
def test_no_pair_is_of_an_answer_and_itself(chosen: str, rejected: str, candidates: str, why: str) -> None:
    pairs = f"preference pairs from chats {{ chosen = {chosen}, rejected = {rejected} }}\n"
    text = (
        f"{HEAD}conversation chats times 4 {{\n{answer(f'marks = quality, {candidates}')}}}\n{pairs}{EXPORT}"
    )
    if not why:
        compile_text(text)
        return
    with pytest.raises(RecipeError) as caught:
        compile_text(text)
    assert [(diagnostic.code, diagnostic.message) for diagnostic in caught.value.diagnostics] == [
        ("E503", f"`chosen` and `rejected` are the same answer: {why}")
    ]


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ("sees = template", True),
        ("sees = transcript", True),
        ('sees = transcript, prompt = "You are the customer. What do you say?"', False),
        ('prompt = "Ask more of {{ ask }}"', False),
    ],
)
def test_what_goes_on_as_the_user_is_not_revised(settings: str, refused: bool) -> None:
    local = "model local: model<chat, template> from pocket()\n"
    turn = f'  turn more: user by local {{ {settings}, revise = "Not {{{{ refused }}}}", retry = 1 }}\n'
    body = answer("retry = 1") + turn + "  turn last: model by writer { sees = transcript }\n"
    if not refused:
        assert steps(body, local)["more"].revise is not None
        return
    assert errors(body, local) == [
        ("E108", "`more` goes on as the user, so a revision would be a message of its own")
    ]


def test_a_mark_that_there_is_none_of_is_null_in_its_column(tmp_path: Path) -> None:
    def pairs(name: str, chosen: str) -> str:
        worse = 'turn worse: model by writer { prompt = "Worse: {{ chats.ask }}", marks = quality }'
        columns = f"{name}.chosen_mark, {name}.rejected_mark, {name}.worse.quality.total"
        return (
            f"preference {name} from chats {{ {worse}\n chosen = {chosen}, rejected = worse }}\n"
            f'export {name}_out: preference from {name} to "out/{name}" {{ columns = [{columns}] }}\n'
        )

    body = answer("marks = quality, candidates = 2, pick = best")
    text = f"{HEAD}conversation chats times 3 {{\n{body}}}\n{EXPORT}"
    recipe = tmp_path / "made.recipe"
    recipe.write_text(
        text + pairs("best_first", "best(chats.answer)") + pairs("taken", "chats.answer"), "utf-8"
    )
    assert synth("run", recipe, "--simulate", cwd=tmp_path).status == 0
    assert synth("materialize", recipe, "--simulate", cwd=tmp_path).status == 0
    for name in ("best_first", "taken"):
        text = (tmp_path / f"out/{name}/train.jsonl").read_text("utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        assert len(rows) == 3
        assert all(row["chosen"] is not None and 0 <= row["chosen_mark"] <= 6 for row in rows)
        assert all(row["rejected_mark"] is None and 0 <= row["total"] <= 6 for row in rows)


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        (
            'base_url = "http://localhost:8000/v1"',
            "how a model is reached is said below `[models.local]` in synth.toml: "
            '`base_url = "http://localhost:8000/v1"`',
        ),
        ("temperature = 0.3", "it stands in braces: `{ temperature = 0.3 }`"),
        ('revision = "main"', 'for example `openai("gpt-4o")`'),
    ],
)
def test_what_is_no_argument_of_a_backend_has_its_place(argument: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        compile_text(f'{HEAD}model local: model<chat> from openai("x", {argument})\n')
    assert [diagnostic.hint for diagnostic in caught.value.diagnostics if diagnostic.code == "E202"] == [hint]


@pytest.mark.parametrize("pick", ["best", "most_common(answer)"])
def test_a_parameter_may_leave_one_candidate_to_pick(pick: str, tmp_path: Path) -> None:
    body = answer(f"marks = quality, candidates = k, pick = {pick}")
    recipe = tmp_path / "made.recipe"
    text = f"{HEAD}param k: count = 4\nconversation chats times 2 {{\n{body}}}\n{EXPORT}"
    recipe.write_text(text, "utf-8")
    assert synth("run", recipe, "--simulate", "--set", "k=1", cwd=tmp_path).status == 0
    assert synth("materialize", recipe, "--simulate", "--set", "k=1", cwd=tmp_path).status == 0
    assert len((tmp_path / "out/train/train.jsonl").read_text("utf-8").splitlines()) == 2
    assert synth("compile", recipe, cwd=tmp_path).status == 0
    recipe.write_text(text.replace("candidates = k", "candidates = 1"), "utf-8")
    refused = synth("compile", recipe, cwd=tmp_path)
    assert (refused.status, "there is none to pick" in refused.err) == (1, True)
