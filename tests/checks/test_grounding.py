"""Whether answers use their passages, whether questions leave them, and what judges are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.compiler.stdlib.checks import run_check
from synth.runtime.calls.validate import Accepted, Rejected, validate
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

FEES = {"document": "biaya/tarif.md", "text": "Teknik Informatika: uang pangkal Rp6.500.000 sekali bayar."}
ROOMS = {"document": "asrama/kamar.md", "text": "Kamar bersama Rp450.000 sebulan, termasuk listrik."}
MORE = {"document": "asrama/kamar.md", "text": "Kamar sendiri Rp900.000 sebulan."}
PASSAGES = [FEES, ROOMS, MORE]


def chat(*said: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "model")[place % 2], "content": text} for place, text in enumerate(said)]


# How many documents an answer draws on --------------------------------------------------


def needed(text: Any, documents: Any) -> str | None:
    return run_check("draws_on", {"evidence": PASSAGES, "documents": documents}, text)


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("Uang pangkal 6.500.000, kamar bersama 450.000.", [2, None]),
        ("Uang pangkal 6.500.000, kamar bersama 450.000.", 2),
        ("Pangkal dan listrik", [2, 2]),
        ("Kamar bersama 450.000, kamar sendiri 900.000.", [1, 1]),
        ("Itu tidak ada di sana.", [None, 0]),
        ("Itu tidak ada di sana.", 0),
    ],
)
def test_documents_whose_own_words_are_used_count(text: str, documents: Any) -> None:
    assert needed(text, documents) is None


@pytest.mark.parametrize(
    ("text", "documents", "why"),
    [
        ("Uang pangkal Rp6.500.000.", [2, None], "needs 1 of its documents; at least 2 are asked for"),
        ("Kamar bersama, kamar sendiri.", 2, "needs 1 of its documents; at least 2 are asked for"),
        ("Tidak ada.", [1, None], "needs 0 of its documents; at least 1 are asked for"),
        ("Pangkal, listrik.", [None, 1], "needs 2 of its documents; at most 1 are allowed"),
    ],
)
def test_a_document_that_adds_nothing_does_not_count(text: str, documents: Any, why: str) -> None:
    assert needed(text, documents) == why


def test_what_two_documents_both_say_needs_neither() -> None:
    both = [
        {"document": "a", "text": "Loket buka pukul 8."},
        {"document": "b", "text": "Loket tutup pukul 8."},
    ]
    assert run_check("draws_on", {"evidence": both, "documents": 1}, "Loket pukul 8.") is not None
    assert run_check("draws_on", {"evidence": both, "documents": 2}, "Loket buka, loket tutup.") is None


def test_of_a_conversation_all_that_the_model_says_counts_together() -> None:
    asked_for_both = chat("Uang pangkal dan listrik?", "Uang pangkal 6.500.000.")
    assert needed(asked_for_both, 2) == "needs 1 of its documents; at least 2 are asked for"
    assert needed([*asked_for_both, *chat("Dan kamar?", "Listrik termasuk.")], 2) is None


@given(st.lists(st.sampled_from("abcdef"), max_size=6), st.lists(st.sampled_from("abcdef"), max_size=8))
def test_as_many_documents_are_needed_as_have_a_word_of_their_own_there(
    here: list[str], said: list[str]
) -> None:
    passages = [{"document": name, "text": f"{name * 4} bersama"} for name in here]
    text = " ".join(["bersama", *(name * 4 for name in said)])
    found = len(set(here) & set(said)) if len(set(here)) > 1 else int(bool(set(here)))
    assert run_check("draws_on", {"evidence": passages, "documents": found}, text) is None
    assert run_check("draws_on", {"evidence": passages, "documents": found + 1}, text) is not None


@pytest.mark.parametrize(
    ("said", "stands", "same"),
    [
        ("Rp450.000", "450.000 rupiah", True),
        ("Rp450.000", "Rp750.000", False),
        ("Rp6.500.000", "Rp7.500.000", False),
        ("3x", "3 kali", True),
        ("24SKS", "24 SKS", True),
        ("20SKS", "24 SKS", False),
        ("S1", "S2", False),
        ("2026/2027", "2026 dan 2027", True),
        ("18.30–20.10", "18.30-20.10", True),
        ("18.30–20.10", "18.30-21.10", False),
    ],
)
def test_a_number_is_one_whatever_is_written_together_with_it(said: str, stands: str, same: bool) -> None:
    evidence = {"evidence": [{"text": f"Itu {stands}."}], "share": 0}
    assert (run_check("supported_by", evidence, f"Itu {said}.") is None) == same


# Questions that no passage answers -------------------------------------------------------


def beyond(text: Any, share: float = 70) -> str | None:
    return run_check("asks_beyond", {"evidence": PASSAGES, "share": share}, text)


def test_a_question_that_one_passage_may_answer_is_refused() -> None:
    assert beyond("Berapa tarif kolam renang kampus?") is None
    assert beyond("Kamar bersama sebulan termasuk listrik?") == (
        "asks with 100% of its words in one passage of `asrama/kamar.md`; less than 70% is asked for"
    )
    assert beyond("Kamar sebulan termasuk sarapan?", 75) is not None
    assert beyond("Kamar sebulan termasuk sarapan?", 76) is None


def test_words_that_are_spread_over_passages_are_in_none_of_them() -> None:
    assert beyond("Pangkal, listrik, sendiri?", 60) is None


def test_numbers_are_words_of_a_question_too() -> None:
    assert beyond("Kamar Rp900.000?", 100) is not None
    assert beyond("Kamar Rp900.001?", 100) is None


def test_of_a_conversation_the_last_question_counts() -> None:
    known, unknown = "Kamar bersama sebulan termasuk listrik?", "Ada kolam renang?"
    assert beyond(chat(unknown, "Tidak.", known, "Ya.")) is not None
    assert beyond(chat(known, "Ya.", unknown, "Tidak.")) is None
    assert beyond([]) is None


# What is to be said ----------------------------------------------------------------------


def test_a_phrase_is_found_whatever_stands_around_and_between_its_words() -> None:
    wanted = {"phrase": "Information not found in UNSIQ documents"}
    for text in (
        "Information not found in UNSIQ documents.",
        "Maaf: INFORMATION, not found in  UNSIQ documents; hubungi loket.",
    ):
        assert run_check("contains", wanted, text) is None
    assert run_check("contains", wanted, "Information was not found in UNSIQ documents") == (
        "does not hold `Information not found in UNSIQ documents`"
    )


def test_of_a_conversation_it_is_said_by_the_model_and_in_the_end() -> None:
    wanted = {"phrase": "not found"}
    assert run_check("contains", wanted, chat("A?", "B.", "C?", "Not found.")) is None
    for messages in (chat("A?", "Not found.", "C?", "D."), chat("Not found?", "B."), []):
        assert run_check("contains", wanted, messages) == "does not hold `not found`"
    renamed = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "Not found."}]
    assert run_check("contains", wanted, renamed) is None


def test_what_is_to_differ_is_compared_by_its_characters() -> None:
    other = {"other": "Berapa biaya kuliah di Teknik Mesin?", "similarity": 0.8}
    assert run_check("differs_from", other, "berapa  biaya kuliah di teknik mesin?") == (
        "is 100% like what it is to differ from"
    )
    assert run_check("differs_from", other, "Anak saya di Teknik Mesin, cicilannya bagaimana?") is None
    assert (
        run_check("differs_from", {"other": {"riddle": "x"}, "similarity": 0.8}, '{"riddle":"x"}') is not None
    )


@given(st.text(max_size=40))
def test_nothing_differs_from_itself(text: str) -> None:
    assert run_check("differs_from", {"other": text, "similarity": 1.0}, text) is not None


@pytest.mark.parametrize(("count", "holds"), [(4, True), ([4, 4], True), (2, False), (6, False)])
def test_a_count_of_turns_is_exact(count: Any, holds: bool) -> None:
    assert (run_check("turns", {"count": count}, chat("a", "b", "c", "d")) is None) == holds


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
        ("turns(kind.says)", "`turns` takes a range, and `kind.says` is text?", "kind.says"),
        ('turns("4")', '`turns` takes a range, and `"4"` is text', '"4"'),
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
