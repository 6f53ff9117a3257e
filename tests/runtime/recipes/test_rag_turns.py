"""The RAG recipe turn by turn: an asker whose questions are evolved, a teacher who answers and judges."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synth.base.canonical import canonical_json
from synth.compiler.compile import compile_file
from synth.compiler.plan.strata import slots
from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.checks import run_check
from synth.runtime.calls.validate import in_one_sample
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, synth
from tests.runtime.recipes.test_rag import BEYOND, REFUSAL, all_rows, completed, part, project
from tests.runtime.test_run import assert_counts_add_up

pytestmark = pytest.mark.embeds

SMALL = ("--set", "teacher_revision=0", "--set", "per_category=4")
MODELS = ("--model", "teacher=openai:gpt-4o")
LOOK_AT = re.compile(r"[^\W\d_]{4,}")


def passages_of(prompt: str) -> list[str]:
    """The passages of a prompt, without their numbers."""
    found = re.split(r"^\[\d\] ", prompt, flags=re.MULTILINE)[1:]
    found[-1:] = [text.partition("\n\n`thought`")[0].partition("\n\nRewrite")[0] for text in found[-1:]]
    return [
        text.partition("\n\nYou were asked:")[0].partition("\n\nThey asked:")[0].strip() for text in found
    ]


def words(text: str, count: int) -> str:
    return " ".join(list(dict.fromkeys(LOOK_AT.findall(text)))[:count])


def asker(asked: Asked) -> str:
    """Questions; some are not rewritten at all, leak the instruction or repeat what was asked."""
    prompt = asked.messages[-1][1]
    wrong = part(asked, "asks")
    if "that this text answers" in prompt:
        return f"Apa kata dokumen soal {words(prompt.partition('Only the question.')[2], 5)}?"
    told = passages_of(prompt)
    if "Rewrite this question" in prompt:
        initial = prompt.rpartition("\n")[2]
        if wrong < 0.2:
            return initial.upper()
        leaked = "Pertanyaan baru: " if wrong < 0.3 else ""
        return f"{leaked}Nuwun sewu, {words(told[0], 2 + int(wrong * 12)).lower()} niku pripun?"
    if "does not stand in the passages" in prompt:
        return (
            f"{words(told[0], 9)}?" if wrong < 0.2 else f"Lha menawi {BEYOND[int(wrong * 5)]}, wonten mboten?"
        )
    if wrong < 0.2:
        return prompt.partition("They asked: ")[2].partition("\n")[0]
    return f"Terus {words(told[-1], 5).lower()} kados pundi?"


def teacher(asked: Asked) -> str:
    """Replies and verdicts; some of the verdicts say no, some of the replies say too much or too little."""
    assert asked.schema is not None
    prompt, wrong = asked.messages[-1][1], part(asked, "answers")
    if "holds" in asked.schema["properties"]:
        return json.dumps({"why": "kutipan tidak memuatnya" if wrong < 0.2 else "ya", "holds": wrong >= 0.2})
    told = passages_of(prompt)
    if "The passages do not hold the answer" in prompt:
        content = "Mboten wonten, nggih." if wrong < 0.2 else f"Ngapunten. {REFUSAL}."
    elif "Look up both passages" in prompt and wrong > 0.3:
        content = " ".join(told)[:1100]
    else:
        content = told[0][:400] + (" Rp123.456.789" if wrong < 0.1 else "")
    return json.dumps(
        {"thought": f"Dokumen menyebut: {told[0][:80]}", "content": content}, ensure_ascii=False
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, rag_index: Path) -> tuple[Path, dict[str, Any]]:
    """The project after a run, a second one and a materialization; the first run's report."""
    folder = project(tmp_path_factory.mktemp("turns"))
    shutil.copytree(rag_index, folder / "recipes/index")
    faults = FaultPlan(rates={"malformed": 0.1, "rate_limit": 0.02}, retry_after=0.05)
    with OpenAIServer(answer=teacher, faults=faults) as openai, GeminiServer(answer=asker) as gemini:
        environment = {
            "OPENAI_BASE_URL": openai.base_url,
            "OPENAI_API_KEY": "k",
            "GOOGLE_GEMINI_BASE_URL": gemini.base_url,
            "GEMINI_API_KEY": "k",
        }
        command = ("run", "recipes/rag_turns.recipe", *SMALL, *MODELS, "--json")
        ran = synth(*command, cwd=folder, env=environment)
        assert ran.status == 0, ran.err + ran.out
        total = openai.total + gemini.total
        assert total == sum(step["issued"] for step in ran.json()["steps"])
        again = synth(*command, cwd=folder, env=environment)
        assert again.status == 0, again.err
        assert openai.total + gemini.total == total
    written = synth("materialize", "recipes/rag_turns.recipe", *SMALL, cwd=folder)
    assert written.status == 0, written.err
    return folder, ran.json()


@pytest.mark.slow
def test_every_sample_is_what_its_checks_ask(done: tuple[Path, dict[str, Any]]) -> None:
    folder, report = done
    assert_counts_add_up(report, folder / "synth.duckdb")
    plan = compile_file(
        folder / "recipes/rag_turns.recipe", {"teacher_revision": "0", "per_category": "4"}
    ).plan
    (cohort,) = plan.cohorts
    cells = {canonical_json(dict(slot.cell.labels)): slot for slot in slots(plan, cohort)}
    found = completed(folder)
    assert Counter(sample["cell"]["category"] for sample in found) == dict.fromkeys(
        (member.label for member in cohort.axes[0].members), 4
    )
    for sample in found:
        values = sample["values"]
        known = {**environment(cohort, cells[canonical_json(sample["cell"])]), **values}
        for step in cohort.steps:
            for check in in_one_sample(step.checks, known):
                assert run_check(check.name, check.arguments, step.said(values[step.name])) is None
        (passage,) = values["seed_passage"]
        assert passage["document"].startswith(f"{sample['cell']['category']}/")
        if sample["cell"]["technique"] == "camouflage":
            assert len({passage["document"] for passage in values["evidence"]}) >= 2
        if sample["cell"]["technique"] == "hard_negative":
            assert REFUSAL in values["closing"]["content"]


@pytest.mark.slow
def test_what_evolved_badly_is_eliminated_and_the_log_says_why(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    found = query(
        folder / "synth.duckdb",
        "SELECT step, payload ->> 'check', payload ->> 'reason' FROM events WHERE kind = 'step.rejected'",
    )
    refused = Counter((step, check) for step, check, _ in found)
    for step, check in (
        ("question", "differs_from"),
        ("question", "no_words"),
        ("question", "approved_by"),
        ("answer", "supported_by"),
        ("follow_up", "differs_from"),
        ("follow_up", "asks_beyond"),
        ("follow_up", "approved_by"),
        ("closing", "contains"),
        ("closing", "draws_on"),
        ("question.approved_by", "json_valid"),
    ):
        assert refused[step, check] > 0, refused
    said = {reason for _, check, reason in found if check == "approved_by"}
    assert "`teacher` says: kutipan tidak memuatnya" in said
    # Nobody judges a question that is refused without.
    unjudged = query(
        folder / "synth.duckdb",
        """SELECT count(*) FROM events r JOIN events j ON j.sample_id = r.sample_id
           AND j.step = 'question.approved_by' AND j.kind = 'call.completed'
           AND contains(j.payload ->> '$.messages[0].content', r.payload ->> 'text')
           WHERE r.kind = 'step.rejected' AND r.step = 'question' AND (r.payload ->> 'check') = 'no_words'""",
    )
    assert unjudged == [(0,)]


@pytest.mark.slow
def test_later_turns_quote_what_was_said_and_not_what_was_thought(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    prompts = query(
        folder / "synth.duckdb",
        "SELECT sample_id, payload ->> '$.messages[0].content' FROM events "
        "WHERE kind = 'call.completed' AND step IN ('follow_up', 'closing')",
    )
    assert prompts
    for _, prompt in prompts:
        told = re.findall(r"(?:They were told|You answered): (.*)", prompt)
        assert told
        assert not told[0].startswith("{")
        assert "Dokumen menyebut" not in prompt.partition("Reply with JSON")[0]


@pytest.mark.slow
@pytest.mark.parametrize("thought", ["strip", "keep", "wrap"])
def test_rows_say_the_content_and_the_thought_as_asked(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, thought: str
) -> None:
    folder, _ = done
    settings = (*SMALL, "--set", f"thoughts={thought}", "--log", folder / "synth.duckdb")
    written = synth("materialize", folder / "recipes/rag_turns.recipe", *settings, cwd=tmp_path)
    assert written.status == 0, written.err
    values = {sample["values"]["question"]: sample["values"] for sample in completed(folder)}
    found = all_rows(tmp_path / "out/rag_turns")
    assert len(found) == 48
    for row in found:
        messages = row["messages"]
        assert [message["role"] for message in messages] == [
            "system",
            "user",
            "assistant",
            "user",
            "assistant",
        ]
        assert [message["weight"] for message in messages] == [0, 0, 1, 0, 1]
        assert messages[0]["content"].startswith("[1] ")
        made = values[messages[1]["content"]]
        for message, turn in zip(messages[2::2], ("answer", "closing"), strict=True):
            reply = made[turn]
            wrapped = f"<think>{reply['thought']}</think>\n\n{reply['content']}"
            assert message["content"] == (wrapped if thought == "wrap" else reply["content"])
            assert message.get("thought") == (reply["thought"] if thought == "keep" else None)


@pytest.mark.slow
def test_it_is_replayed_and_verified(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    replayed = synth("replay", "recipes/rag_turns.recipe", *SMALL, "--json", cwd=folder)
    assert (replayed.status, replayed.json()["pending"]) == (0, 0), replayed.err
    verified = synth("verify", "out/rag_turns", "--log", "synth.duckdb", cwd=folder)
    assert verified.status == 0, verified.err


@pytest.mark.parametrize("name", ["rag", "rag_turns"])
def test_a_simulation_meets_every_quota(tmp_path: Path, name: str) -> None:
    """What nobody wrote is supported, refuses and compares as it is asked to, from the passages."""
    project(tmp_path)
    recipe = f"recipes/{name}.recipe"
    ran = synth("run", recipe, *SMALL, "--simulate", "--json", cwd=tmp_path)
    assert ran.status == 0, ran.err + ran.out
    # A simulated judge says no half of the time.
    assert {check.partition(".")[2] for check in ran.json()["rejections"]} <= {"approved_by"}
    assert synth("materialize", recipe, *SMALL, cwd=tmp_path).status == 0
    assert len(all_rows(tmp_path / "out" / name)) == 48
    replayed = synth("replay", recipe, *SMALL, "--json", cwd=tmp_path)
    assert (replayed.status, replayed.json()["pending"]) == (0, 0)
