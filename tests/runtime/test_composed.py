"""Composed turns are held to what is said of them: judged when compiled, or when they are composed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import synth as api
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.runtime.run.preview import estimate
from synth.runtime.settings import Settings
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

DECLARED = {
    "base": "model base: model<chat, json> from simulated()",
    "Command": "schema Command { action: text(1..40), target: text? }",
    "Where": "schema Where { target: text }",
    "Long": "schema Long { action: text(1..60) }",
    "polite": 'check polite: text { contains("Hi") }',
    "orders": """set orders: Command {
  lamp { action = "switch on", target = "the \\"big\\" lamp" }
  door { action = "open the door" }
}""",
}


def recipe_of(body: str) -> str:
    """A recipe with a conversation, and with what it names."""
    used = {name for name in DECLARED if re.search(rf"\b{name}\b", body)}
    used |= {"Command"} if "orders" in used else set()
    declared = "\n".join(text for name, text in DECLARED.items() if name in used)
    return (
        f"edition 1\nrecipe composed {{ seed = 1 }}\n{declared}\n"
        f"conversation chats times 6 {{\n{body}\n}}\n"
        'export train: messages from chats to "out/train"\n'
    )


def project(folder: Path, body: str) -> Path:
    recipe = folder / "composed.recipe"
    recipe.write_text(recipe_of(body), "utf-8")
    return recipe


def made(recipe: Path) -> list[dict[str, Any]]:
    """The rows that a simulation of a recipe gives."""
    plan, log = api.compile(recipe), recipe.parent / "synth.duckdb"
    assert api.run(plan, log=log, simulate=True).exit_status == 0
    [dataset] = api.materialize(plan, log=log, out=recipe.parent)
    return rows(dataset.folder / "train.jsonl")


def test_composed_json_is_a_value_with_fields_that_is_written_measured_and_verified(tmp_path: Path) -> None:
    recipe = project(
        tmp_path,
        """draw order from orders
        turn ask: user = "Please."
        turn answer: model = "{ \\"action\\": {{ order.action | json }} }" { produces: json<Command> }
        turn again: user = "You would {{ answer.action }}?"
        turn yes: model by base { prompt = "{{ again }}" }""",
    )
    recipe.write_text(
        recipe.read_text("utf-8") + "evaluation quality of train { json_errors(at_most = 0%) }\n", "utf-8"
    )
    found = made(recipe)
    said = {row["messages"][1]["content"]: row["messages"][2]["content"] for row in found}
    assert said == {
        '{"action":"switch on"}': "You would switch on?",
        '{"action":"open the door"}': "You would open the door?",
    }
    assert synth("verify", tmp_path / "out" / "train", cwd=tmp_path).status == 0


def test_a_sample_whose_composed_turn_fails_is_lost_with_the_reason_and_replaced(tmp_path: Path) -> None:
    recipe = project(
        tmp_path,
        """step made: text by base { prompt = "Write {{ nth }}", check { length(1..160) }, retry = 1 }
        turn ask: user = "Say: {{ made }}" { check { length(..76) } }
        turn answer: model = "{ \\"action\\": {{ made | json }} }" { produces: json<Long> }""",
    )
    found = made(recipe)
    lost = query(
        tmp_path / "synth.duckdb",
        "SELECT step, payload ->> 'reason', payload ->> 'rejected' FROM events "
        "WHERE kind = 'sample.abandoned'",
    )
    assert {step for step, *_ in lost} == {"ask", "answer"}
    for step, reason, rejected in lost:
        assert (step, reason.split(":")[0]) in {("ask", "length"), ("answer", "schema")}
        assert json.loads(rejected)[step][0]["call"] is None
    assert len(found) == 6
    assert all(len(json.loads(row["messages"][1]["content"])["action"]) <= 60 for row in found)
    assert synth("replay", recipe, cwd=tmp_path).status == 0


def test_what_quotes_a_model_and_never_holds_ends_the_run(tmp_path: Path) -> None:
    recipe = project(
        tmp_path,
        """step made: text by base { prompt = "Write: {{ nth }}" }
        turn ask: user = "Say: {{ made }}" { check { contains("never said") } }
        turn answer: model by base { prompt = "{{ ask }}" }""",
    )
    report = api.run(api.compile(recipe), log=tmp_path / "synth.duckdb", simulate=True)
    assert report.exit_status == 3
    assert "`ask` of" in report.reason
    assert "(contains: " in report.reason


def test_a_judge_is_asked_about_a_composed_turn(tmp_path: Path) -> None:
    recipe = project(
        tmp_path,
        """step made: text by base { prompt = "Write: {{ nth }}" }
        turn ask: user = "Say: {{ made }}" { check { approved_by(base, "Is it kind?") } }
        turn answer: model by base { prompt = "{{ ask }}" }""",
    )
    plan = api.compile(recipe)
    foreseen = {cost.step: cost.new for cost in estimate(plan, Settings())}
    assert foreseen == {"made": 6, "ask.approved_by": 6, "answer": 6}
    made(recipe)
    asked = query(
        tmp_path / "synth.duckdb",
        "SELECT count(*) FROM events WHERE kind = 'step.accepted' AND step = 'ask.approved_by'",
    )
    assert asked[0][0] >= 6


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ('user = "Hi" { check { length(5..) } }', "fails `length` in every sample"),
        ('user = "{{ order.action }}" { check { no_words("door") } }', "where `order` is `door`"),
        ('user = "{{ order.target }}" { check { length(1..) } }', "where `order` is `door`"),
        ('user = "{{ nth }}" { check { contains("x") } }', "fails `contains` in every sample"),
        ('user = "Hi" { must_fail = [polite] }', "passes `polite`, which it is meant to fail"),
        ('user = "{}" { produces: json<Command> }', "fails `schema` in every sample"),
        (
            'user = "{ \\"target\\": \\"{{ order.target }}\\" }" { produces: json<Where> }',
            "where `order` is `lamp`",
        ),
        ('user = "{{ order.action }}" { check { distinct() } }', "3 of them say"),
        ('user = "{{ order.action }}" { retry = 3 }', "`retry` is for a turn that a model writes"),
        ('user = "{{ order.action }} now {{ nth }}" { check { distinct() } }', ""),
        ('user = "Hi" { check { no_words("door") } }', ""),
        ('user = "Hi" { checks = [polite] }', ""),
    ],
)
def test_what_is_known_is_judged_when_compiled(turn: str, said: str) -> None:
    try:
        compile_text(recipe_of(f"draw order from orders\nturn ask: {turn}"))
    except RecipeError as error:
        messages = [each.message for each in error.diagnostics if each.code.startswith("E")]
        assert len(messages) == 1
        assert said
        assert said in messages[0]
    else:
        assert not said


def test_a_turn_that_says_nothing_is_told_when_it_can_be_known(tmp_path: Path) -> None:
    result = synth("check", project(tmp_path, 'turn ask: user = "  "'), cwd=tmp_path)
    assert result.status == 1
    assert "`ask` fails `not_empty`" in result.out + result.err


FOUND = """turn ask: user = "Go."
step found: json<Where> by base { prompt = "Find one.", retry = 1 }
turn tell: model = "{{ found.target }}"
"""


def told(tmp_path: Path, server: OpenAIServer, *first: str) -> str:
    """What a run prints in which a model gives some answers first, and then good ones alone."""
    recipe, answers = project(tmp_path, FOUND), iter(first)
    server.answer = lambda asked: next(answers, '{"target": "the door"}')
    env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
    ran = synth("run", recipe, "--model", "base=openai:m", cwd=tmp_path, env=env)
    assert ran.status == 0, ran.err
    assert synth("materialize", recipe, cwd=tmp_path).status == 0
    assert {row["messages"][1]["content"] for row in rows(tmp_path / "out/train/train.jsonl")} == {"the door"}
    assert synth("replay", recipe, cwd=tmp_path).status == 0
    return ran.out


def test_a_turn_that_says_nothing_costs_its_sample(tmp_path: Path, openai_server: OpenAIServer) -> None:
    assert "tell.not_empty 2" in told(tmp_path, openai_server, '{"target": " "}', '{"target": ""}')


def test_json_that_holds_half_a_character_costs_its_attempt(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    # The escape is sound JSON, and what it stands for can be written nowhere.
    assert "found.json_valid 1" in told(tmp_path, openai_server, '{"target": "\\ud83d x"}')
    reasons = query(
        tmp_path / "synth.duckdb", "SELECT payload->>'reason' FROM events WHERE kind = 'step.rejected'"
    )
    assert reasons == [("holds U+D83D, which is half of a character",)]
