"""The pillars recipe against services that err: quotas, pairs and the mix come out exact."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from synth.compiler.compile import compile_file
from synth.compiler.plan.steps import CheckPlan, JsonOutput
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import RECIPES, query, rows, synth
from tests.runtime.test_run import assert_counts_add_up

SUBJECTS = (
    "المشروع",
    "السيارة",
    "الاجتماع",
    "القهوة",
    "العميل",
    "الخطة",
    "البيت",
    "السفر",
    "الفريق",
    "الحساب",
)
DOINGS = ("يسأل عن", "يستعجل على", "يضحك على", "يشتكي من", "يفكر في", "يبي يفهم", "ما يدري عن", "رجع لموضوع")
TIMES = ("اليوم الصبح", "بعد العصر", "آخر الليل", "قبل الدوام", "يوم الخميس", "وقت الغدا", "من أسبوع", "توه")
TOO_ALIKE = "وش اسمك يا طويل العمر، قل لي بسرعة وأنا رايح الدوام الحين"


def part(asked: Asked, of: str) -> float:
    """A number in [0, 1) from a request and a word: what goes wrong depends on nothing else."""
    return int.from_bytes(sha256(f"{asked.key}/{of}".encode()).digest()[:6]) / 2**48


def phrase(asked: Asked) -> str:
    digest = sha256(asked.key.encode()).digest()
    words = [table[digest[i] % len(table)] for i, table in enumerate((DOINGS, SUBJECTS, TIMES, SUBJECTS))]
    return f"{words[0]} {words[1]} {words[2]} مع {words[3]} رقم {digest[4:9].hex()}"


def writer(asked: Asked) -> str:
    """A fifth of the asks are nearly the same, a tenth of the answers break the house style."""
    prompt = asked.messages[-1][1]
    if asked.schema is not None:
        # Malformed and fenced JSON is the server's own doing.
        command = {"action": "open_app", "target": "unknown", "query": phrase(asked)}
        return json.dumps(command, ensure_ascii=False)
    if "Write variation" in prompt or "spoken command" in prompt or "Write that message" in prompt:
        return f"{TOO_ALIKE}{'!' * (1 + len(asked.key) % 3)}" if part(asked, "alike") < 0.2 else phrase(asked)
    if "request for JSON" in prompt:
        return f"عطني JSON واشرح لي: {phrase(asked)}"
    broken = part(asked, "broken")
    if broken < 0.03:
        return "As an AI I can say: " + phrase(asked)
    if broken < 0.06:
        return f"أنا مُسَاعِدك الذكي. {phrase(asked)}"
    if broken < 0.10:
        return f"{phrase(asked)} 🚀"
    return f"أنا نسختك الرقمية. {phrase(asked)}"


def padder(asked: Asked) -> str:
    """A tenth of the answers that should be padded are not."""
    if part(asked, "terse") < 0.1:
        return f"لأنها ركزت على المنتج. {phrase(asked)}"
    return f"سؤال رائع! {phrase(asked)} 😊 سؤال رائع! {phrase(asked)}"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], int]:
    """The project after a run and a materialization; the run's report; requests served."""
    folder = tmp_path_factory.mktemp("pillars")
    shutil.copytree(RECIPES, folder / "recipes")
    faults = FaultPlan(rates={"malformed": 0.15, "fenced": 0.05, "rate_limit": 0.02}, retry_after=0.05)
    with OpenAIServer(answer=writer, faults=faults) as openai, GeminiServer(answer=padder) as gemini:
        environment = {
            "OPENAI_BASE_URL": openai.base_url,
            "OPENAI_API_KEY": "k",
            "GOOGLE_GEMINI_BASE_URL": gemini.base_url,
            "GEMINI_API_KEY": "k",
        }
        ran = synth("run", "recipes/pillars.recipe", "--json", cwd=folder, env=environment)
        assert ran.status == 0, ran.err
        served = openai.total + gemini.total
    written = synth("materialize", "recipes/pillars.recipe", cwd=folder)
    assert written.status == 0, written.err
    return folder, ran.json(), served


def all_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.jsonl")) for row in rows(path)]


@pytest.mark.slow
def test_every_quota_is_exact(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, report, served = done
    completed = {name: cohort["completed"] for name, cohort in report["cohorts"].items()}
    assert completed == {"identity": 300, "commands": 320, "json_only": 80, "direct": 300, "corrections": 150}
    assert_counts_add_up(report, folder / "synth.duckdb")
    assert served == sum(step["issued"] for step in report["steps"])
    pairs = all_rows(folder / "out/pillars_pairs")
    assert len(pairs) == 150
    mixed = Counter(row["source"] for row in all_rows(folder / "out/pillars"))
    synthetic = mixed["identity"] + mixed["commands"] + mixed["json_only"] + mixed["direct"]
    assert (synthetic, mixed["natural"], mixed["map"]) == (1000, 600, 400)
    assert mixed["commands"] + mixed["json_only"] == 400
    held_out = Counter(row["source"] for row in rows(folder / "out/pillars/eval.jsonl"))
    assert held_out == {
        "identity": 15, "commands": 16, "json_only": 4, "direct": 15, "natural": 30, "map": 20
    }, "the shares hold on both sides of the split"  # fmt: skip


@pytest.mark.slow
def test_no_row_breaks_what_the_recipe_asks(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, _, _ = done
    plan = compile_file(folder / "recipes/pillars.recipe").plan
    answers = {cohort.name: cohort.step("answer") for cohort in plan.cohorts}
    asks: dict[str, list[str]] = {}
    for row in all_rows(folder / "out/pillars"):
        if row["source"] not in answers:
            continue
        step, messages = answers[row["source"]], row["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"]
        assert [message["weight"] for message in messages] == [0, 1]
        assert row["tags"] == (["negative"] if row["source"] == "json_only" else [])
        answer = messages[1]["content"]
        for check in step.checks:
            assert run_check(check.name, check.arguments, answer) is None, answer
        if isinstance(step.output, JsonOutput):
            Draft202012Validator(step.output.schema_).validate(json.loads(answer))
        asks.setdefault(row["source"], []).append(messages[0]["content"])
    for name in ("identity", "commands", "direct"):
        (similarity,) = [c.arguments["similarity"] for c in _distinct(plan.cohort(name).step("ask").checks)]
        index = NearDuplicates(float(str(similarity)))
        for ask in asks[name]:
            assert index.find(ask) is None
            index.keep(ask, ask)


def _distinct(checks: tuple[CheckPlan, ...]) -> list[CheckPlan]:
    return [check for check in checks if check.name == "distinct"]


@pytest.mark.slow
def test_pairs_answer_one_prompt_and_the_worse_one_is_worse(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, _, _ = done
    plan = compile_file(folder / "recipes/pillars.recipe").plan
    (padded,) = plan.preferences[0].steps
    scenarios: Counter[str] = Counter()
    for row in all_rows(folder / "out/pillars_pairs"):
        (prompt,), (chosen,), (rejected,) = row["prompt"], row["chosen"], row["rejected"]
        assert (prompt["role"], chosen["role"], rejected["role"]) == ("user", "assistant", "assistant")
        assert any(run_check(c.name, c.arguments, rejected["content"]) for c in padded.must_fail)
        assert not any(run_check(c.name, c.arguments, chosen["content"]) for c in padded.must_fail)
    cells = query(
        folder / "synth.duckdb",
        "SELECT payload ->> '$.cell.scenario' FROM events "
        "WHERE kind = 'sample.completed' AND (payload ->> 'cohort') = 'corrections'",
    )
    scenarios.update(name for (name,) in cells)
    assert set(scenarios.values()) == {25}


@pytest.mark.slow
def test_the_log_explains_every_rejection(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, report, _ = done
    found = query(
        folder / "synth.duckdb",
        "SELECT payload ->> 'check', payload ->> 'reason', payload ->> 'text' FROM events "
        "WHERE kind = 'step.rejected'",
    )
    assert len(found) == sum(report["rejections"].values())
    assert all(reason for _, reason, _ in found)
    by_check = Counter(check for check, _, _ in found)
    for expected in (
        "json_valid",
        "distinct",
        "must_fail",
        "house_style.plain.no_emoji",
        "house_style.plain.no_words",
        "house_style.no_assistant.no_words",
    ):
        assert by_check[expected] > 0, by_check
    fenced = [reason for check, reason, text in found if check == "json_valid" and text.startswith("```")]
    assert fenced
    assert all("fenced" in reason for reason in fenced)


@pytest.mark.slow
def test_what_came_out_can_be_replayed_and_verified(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, _, _ = done
    replayed = synth("replay", "recipes/pillars.recipe", "--json", cwd=folder)
    assert replayed.status == 0, replayed.err
    assert replayed.json()["pending"] == 0
    for name in ("pillars", "pillars_pairs"):
        verified = synth("verify", f"out/{name}", "--log", "synth.duckdb", cwd=folder)
        assert verified.status == 0, verified.err
    evaluated = synth("evaluate", "recipes/pillars.recipe", "--json", cwd=folder)
    assert evaluated.status == 0, evaluated.err


@pytest.mark.slow
def test_another_mix_or_filter_makes_no_call_and_the_manifest_shows_it(
    done: tuple[Path, dict[str, Any], int],
) -> None:
    folder, _, _ = done
    recipe = folder / "recipes/other.recipe"
    text = (folder / "recipes/pillars.recipe").read_text("utf-8")
    text = text.replace("turns(2..12)", "turns(2..4)").replace("synthetic 50%", "synthetic 60%")
    recipe.write_text(text.replace("natural 30%", "natural 20%"), "utf-8")
    keys = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}
    foreseen = synth("compile", recipe, "--log", "synth.duckdb", "--json", cwd=folder, env=keys)
    assert foreseen.status == 0, foreseen.err
    assert foreseen.json()["calls"] == 0
    written = synth("materialize", recipe, "--out", "again", cwd=folder)
    assert written.status == 0, written.err
    before = json.loads((folder / "out/pillars/manifest.json").read_text("utf-8"))
    after = json.loads((folder / "again/out/pillars/manifest.json").read_text("utf-8"))
    assert before["source"] != after["source"]
    assert before["plan_hash"] != after["plan_hash"]
    mixed = Counter(row["source"] for row in all_rows(folder / "again/out/pillars"))
    # A thousand synthetic rows are 60% of 1,666, of which 20% are 333.
    assert mixed.pop("natural") == mixed.pop("map") == 333
    assert sum(mixed.values()) == 1000


@pytest.mark.slow
def test_arabic_survives_byte_for_byte(done: tuple[Path, dict[str, Any], int]) -> None:
    folder, _, _ = done
    answered = query(
        folder / "synth.duckdb",
        "SELECT payload ->> 'text' FROM events WHERE kind = 'call.completed' AND step = 'answer'",
    )
    texts = {text.strip() for (text,) in answered}
    for row in all_rows(folder / "out/pillars"):
        if row["source"] in ("identity", "direct"):
            assert row["messages"][1]["content"] in texts
    asked = query(
        folder / "synth.duckdb",
        "SELECT DISTINCT payload ->> '$.messages[0].content' FROM events "
        "WHERE kind = 'call.completed' AND step = 'ask'",
    )
    prompts = "\n".join(text for (text,) in asked)
    for brief in ("عرف عن نفسك.", "من سوّاك؟", "سكر الجهاز", "افتح ملف مدري وينه", "ليش الشركة خسرت؟"):
        assert brief in prompts
