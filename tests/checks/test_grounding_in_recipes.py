"""What a check goes by in each sample, and what judges are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.runtime.calls.validate import Accepted, Rejected, validate
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

# Arguments that each sample has for itself ------------------------------------------------

VARYING = """edition 1
recipe r { seed = 1 }
model m: model<chat, json> from simulated()
source docs: chunk from folder("docs")
schema kind { says: text?, uses: range?, share: ratio?, how_many: count, asks: text? }
set kinds: kind {
  plain { how_many = 2 }
  refusal { says = "not found", share = 40%, how_many = 4, uses = 2.., asks = "Is it missing?" }
}
schema Message { role: enum<user, model>, content: text }
conversation c times 4 {
  draw kind from kinds
  draw length from [2, 4]
  let evidence = retrieve(docs, query = "fees", top_k = 4, documents = kind.how_many)
  step talk: json<list<Message>(2..6)> by m {
    prompt = "Talk about {{ evidence | plain }} in {{ length }} turns."
    check { CHECK }
    retry = 1
  }
  transcript = talk
}
export rows: messages from c to "out/rows"
"""


@pytest.mark.parametrize(
    "check",
    [
        "contains(kind.says)",
        "draws_on(evidence, documents = kind.uses)",
        "draws_on(evidence, documents = kind.how_many)",
        "asks_beyond(evidence, share = kind.share)",
        "supported_by(evidence, share = kind.share)",
        "supported_by(evidence, judge = m)",
        "turns(length)",
        "turns(kind.how_many)",
        "turns(kind.uses)",
        "turns(4)",
        "turns(2..4)",
        "approved_by(m, kind.asks)",
        'approved_by(m, "Is it so?", evidence)',
    ],
)
def test_what_a_check_may_go_by(check: str) -> None:
    assert compile_text(VARYING.replace("CHECK", check)).warnings == ()


@pytest.mark.parametrize(
    ("check", "message", "at"),
    [
        ("contains(kind.share)", "`contains` takes text, and `kind.share` is a ratio?", "kind.share"),
        ("contains(kind.sys)", "`kind` has no `sys`", "kind.sys"),
        ('contains("")', "there is nothing to be found in ``", '""'),
        ("turns(kind.says)", "`turns` takes a range of counts, and `kind.says` is text?", "kind.says"),
        ('turns("4")', '`turns` takes a range of counts, and `"4"` is text', '"4"'),
        ("draws_on(kind.says)", "`draws_on` takes a list<chunk>, and `kind.says` is text?", "kind.says"),
        ("draws_on(evidence)", "`draws_on` needs `documents`", "draws_on(evidence)"),
        ("draws_on(docs, 2)", "`draws_on` takes a list<chunk>, and `docs` is a source", "docs"),
        ("asks_beyond(evidence, 3)", "`asks_beyond` takes a ratio, and `3` is a count", "3"),
        (
            'differs_from("x")',
            "`differs_from` checks text, and this is a json<list<Message>(2..6)>",
            "differs_from",
        ),
        ('approved_by("m", "Is it so?")', "`approved_by` takes the name of a model", '"m"'),
        ('approved_by(docs, "Is it so?")', "`docs` is a source, not a model", "docs"),
        ("approved_by(m)", "`approved_by` needs `question`", "approved_by(m)"),
        ("approved_by(m, kind.uses)", "`approved_by` takes text, and `kind.uses` is a range?", "kind.uses"),
    ],
)
def test_what_it_may_not(check: str, message: str, at: str) -> None:
    with pytest.raises(RecipeError) as caught:
        compile_text(VARYING.replace("CHECK", check))
    found = [(each.message, each.primary.text if each.primary else "") for each in caught.value.diagnostics]
    assert found == [(message, at)]


def test_only_a_turn_or_step_can_ask_a_judge() -> None:
    named = VARYING.replace("conversation c", 'check fine { approved_by(m, "Is it so?") }\nconversation c')
    with pytest.raises(RecipeError) as caught:
        compile_text(named.replace("check { CHECK }", "checks = [fine]"))
    assert [each.message for each in caught.value.diagnostics] == [
        "`approved_by` asks a model here, which only the `check { }` of a turn or step can"
    ]


def test_a_judge_must_be_able_to_give_json() -> None:
    text = VARYING.replace("conversation c", "model n: model<chat> from simulated()\nconversation c")
    with pytest.raises(RecipeError) as caught:
        compile_text(text.replace("CHECK", 'approved_by(n, "Is it so?")'))
    assert [(each.code, each.message) for each in caught.value.diagnostics] == [
        ("E401", "`n` cannot produce json, which a judge's verdict is")
    ]


def step(*checks: CheckPlan, **more: Any) -> StepPlan:
    return StepPlan(name="answer", model="m", checks=checks, **more)


def test_a_sample_that_lacks_what_a_check_goes_by_passes_it() -> None:
    asked = step(CheckPlan(name="contains", arguments={"phrase": RefPlan(path=("kind", "says"))}))
    lacks, has = {"kind": {"says": None}}, {"kind": {"says": "not found"}}
    assert validate(asked, "Found it.", "stop", lacks) == Accepted("Found it.")
    assert validate(asked, "Found it.", "stop", has) == Rejected("contains", "does not hold `not found`")
    assert validate(asked, "It is not found.", "stop", has) == Accepted("It is not found.")


def test_of_a_turn_that_thinks_what_it_says_is_checked() -> None:
    schema = {
        "type": "object",
        "properties": {"thought": {"type": "string"}, "content": {"type": "string"}},
        "required": ["thought", "content"],
    }
    checks = (
        CheckPlan(name="no_words", arguments={"words": ["thought", "content", "secret"]}),
        CheckPlan(name="length", arguments={"characters": [1, 12]}),
        CheckPlan(name="supported_by", arguments={"evidence": [{"text": "Rooms are clean."}], "share": 100}),
    )
    turn = step(*checks, role="model", output=JsonOutput(schema_=schema))
    reply = {"thought": "The secret is 42.", "content": "Clean rooms."}
    assert validate(turn, json.dumps(reply), "stop") == Accepted(reply)
    told = json.dumps({**reply, "content": "A secret."})
    assert validate(turn, told, "stop") == Rejected("no_words", "holds `secret`")
    # A step is not said, so it is checked as the JSON that it is.
    assert validate(turn.model_copy(update={"role": None}), json.dumps(reply), "stop") == Rejected(
        "no_words", "holds `thought`"
    )


# Judges ----------------------------------------------------------------------------------

JUDGED = """edition 1
recipe judged { seed = 3 }
model author: model<chat> from openai("author")
model reader: model<chat, json> from openai("reader")
schema kind { asks: text? }
set kinds: kind {
  free { }
  judged { asks = "Is it about rooms?" }
}
source docs: chunk from folder("docs", glob = "*.md")
conversation talks 12 over kind in kinds times 6 {
  let evidence = retrieve(docs, query = "rooms")
  turn ask: user by author {
    prompt = "Ask {{ kind.name }} {{ nth }}."
    check {
      length(4..80)
      approved_by(reader, kind.asks, evidence)
    }
    retry = 3
  }
  turn answer: model by author {
    prompt = "Answer: {{ ask }}"
    check { supported_by(evidence, judge = reader) }
    retry = 3
  }
}
export train: messages from talks to "out/talks"
"""


def author(asked: Asked) -> str:
    good = int(asked.key[:4], 16) % 3
    if asked.messages[-1][1].startswith("Ask "):
        return ("x", "About rooms?", "About fees?")[good]
    return f"The rooms are {('clean', 'clean', 'haunted')[good]}."


def reader(asked: Asked) -> str:
    """A third of its verdicts are none."""
    if asked.model == "author":
        return author(asked)
    assert asked.schema is not None
    judged = asked.messages[-1][1].rpartition("Text:\n")[2].rpartition("Answer:\n")[2]
    if int(asked.key[:4], 16) % 3 == 0:
        return "Yes, it holds."
    holds = "About rooms?" in judged or "clean" in judged
    return json.dumps({"why": "fine" if holds else "it is not there", "holds": holds})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Any]:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "docs").mkdir()
    (folder / "docs/rooms.md").write_text("# Rooms\n\nThe rooms are clean.\n")
    (folder / "talks.recipe").write_text(JUDGED)
    with OpenAIServer(answer=reader) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "talks.recipe", "--json", cwd=folder, env=env)
        assert ran.status == 0, ran.err
        again = synth("run", "talks.recipe", "--json", cwd=folder, env=env)
        assert again.status == 0, again.err
        assert sum(step["issued"] for step in again.json()["steps"]) == 0
        assert server.total == sum(step["issued"] for step in ran.json()["steps"])
    return folder, env, ran.json()


def test_what_a_judge_refuses_is_written_again(judged: tuple[Path, dict[str, str], Any]) -> None:
    folder, _, report = judged
    refused = query(
        folder / "synth.duckdb",
        "SELECT step, payload ->> 'check', payload ->> 'reason', payload ->> 'text' FROM events "
        "WHERE kind = 'step.rejected'",
    )
    said = {(step, check, reason, text) for step, check, reason, text in refused}
    assert ("ask", "approved_by", "`reader` says: it is not there", "About fees?") in said
    assert ("answer", "supported_by", "`reader` says: it is not there", "The rooms are haunted.") in said
    # What fails another check is not shown to a judge.
    assert ("ask", "length", "has 1 character; at least 4 are asked for", "x") in said
    # A verdict that is none is asked for again, and after three such the text is refused.
    assert any(step == "answer.supported_by" and check == "json_valid" for step, check, *_ in said)
    assert all(
        reason == "`reader` gave no verdict on it"
        for step, check, reason, text in said
        if step == "ask" and check == "approved_by" and text == "About rooms?"
    )
    issued = {step["step"]: step["issued"] for step in report["steps"]}
    assert issued.keys() == {"ask", "ask.approved_by", "answer", "answer.supported_by"}


def test_a_judge_is_shown_the_question_the_passages_and_the_text(
    judged: tuple[Path, dict[str, str], Any],
) -> None:
    folder, _, _ = judged
    prompts = query(
        folder / "synth.duckdb",
        "SELECT DISTINCT step, payload ->> '$.messages[0].content', payload ->> '$.sampling.temperature' "
        "FROM events WHERE kind = 'call.completed' AND model = 'reader'",
    )
    assert {temperature for *_, temperature in prompts} == {"0.0"}
    shown = {step: text for step, text, _ in prompts}
    assert shown["ask.approved_by"].startswith(
        "Is it about rooms?\n\nPassages:\n[1] Rooms\n\nThe rooms are clean."
    )
    assert "[1] Rooms\n\nThe rooms are clean.\n\nAnswer:\nThe rooms are " in shown["answer.supported_by"]


def test_where_there_is_no_question_nobody_is_asked(judged: tuple[Path, dict[str, str], Any]) -> None:
    folder, _, _ = judged
    found = query(
        folder / "synth.duckdb",
        """SELECT payload ->> '$.cell.kind' AS kind, payload ->> '$.values.ask' AS ask,
           sample_id IN (SELECT sample_id FROM events WHERE step = 'ask.approved_by') AS judged
           FROM events WHERE kind = 'sample.completed'""",
    )
    assert len(found) == 12
    for kind, ask, asked in found:
        assert asked == (kind == "judged")
        assert ask in (("About rooms?",) if kind == "judged" else ("About rooms?", "About fees?"))
    assert {ask for kind, ask, _ in found if kind == "free"} == {"About rooms?", "About fees?"}


def test_verdicts_are_replayed_and_cost_nothing_again(judged: tuple[Path, dict[str, str], Any]) -> None:
    folder, env, _ = judged
    replayed = synth("replay", "talks.recipe", "--json", cwd=folder)
    assert replayed.status == 0, replayed.err
    assert replayed.json()["pending"] == 0
    foreseen = synth("compile", "talks.recipe", "--log", "synth.duckdb", "--json", cwd=folder, env=env)
    assert foreseen.json()["calls"] == 0
    assert synth("materialize", "talks.recipe", cwd=folder).status == 0
    assert len(rows(folder / "out/talks/train.jsonl")) == 12
