"""The RAG recipe against a teacher that errs: exact quotas, grounded conversations, a log that explains."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from synth.base.canonical import canonical_json
from synth.compiler.compile import compile_file
from synth.compiler.plan.strata import slots
from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.runtime.calls.validate import in_one_sample
from tests.kit.payloads import kinds_in
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import RECIPES, SOAK, query, rows, synth
from tests.runtime.test_run import assert_counts_add_up

pytestmark = pytest.mark.embeds

# Shares of a category that are whole and that are not come out alike from both numbers.
IN_CATEGORY = 85 if SOAK else 25
SAMPLES = 12 * IN_CATEGORY
SETTINGS = {"teacher_revision": "0", "per_category": str(IN_CATEGORY)}
SET = tuple(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}"))
TEACHER = (*SET, "--model", "teacher=openai:gpt-4o")
REFUSAL = "Information not found in UNSIQ documents"
PASSAGE = re.compile(r"^\[(\d)\] (.*?)(?=^\[\d\] |\Z)", re.DOTALL | re.MULTILINE)
BEYOND = (
    "kolam renang olimpik",
    "bioskop bawah tanah",
    "helipad pribadi",
    "kandang jerapah",
    "planetarium mini",
)


CHATTER = (
    "mbak mas pak bu nuwun sewu anu lha kok yo wis piye tenan opo meneh wingi sesuk saiki bapak ibu "
    "adik kakak tetangga keponakan sepupu warung pasar sawah masjid langgar gudang kereta hujan mendung"
).split()


def part(asked: Asked, of: str) -> float:
    """A number in [0, 1) from a request and a word: what goes wrong depends on nothing else."""
    return int.from_bytes(sha256(f"{asked.key}/{of}".encode()).digest()[:6]) / 2**48


def chatter(asked: Asked, of: str) -> str:
    """Nine words that no two requests are likely to have in common."""
    return " ".join(CHATTER[int(part(asked, f"{of} {n}") * len(CHATTER))] for n in range(9))


def lines_of(prompt: str) -> list[list[str]]:
    """The running text of each passage of a prompt, a line at a time, without its headings."""
    context = prompt.partition("CONTEXT:\n")[2].partition("\n\nTASK:")[0]
    found = []
    for _, text in PASSAGE.findall(context):
        lines = [line.strip() for line in text.split("\n")]
        found.append([line for line in lines if len(line.split()) >= 5 and " > " not in line][:4])
    return found


def teacher(asked: Asked) -> str:
    """A dialogue made of the passages in its prompt, and now and then of something else."""
    return json.dumps(spoiled(dialogue(asked, careful=False), asked), ensure_ascii=False)


def careful(asked: Asked) -> str:
    """A dialogue that is as it should be."""
    return json.dumps(dialogue(asked, careful=True), ensure_ascii=False)


def dialogue(asked: Asked, careful: bool) -> list[dict[str, str]]:
    """As many messages as are asked for.  One that is not `careful` compares within one document,
    asks what the passages answer and forgets to refuse."""
    prompt = asked.messages[-1][1]
    passages = [lines for lines in lines_of(prompt) if lines]
    messages = int(re.findall(r"a chat of (\d) messages", prompt)[0])
    refuses, compares = REFUSAL in prompt, "compared" in prompt
    said: list[dict[str, str]] = []
    for number in range(messages // 2):
        chosen = passages[number % len(passages)]
        line = chosen[int(part(asked, f"line {number}") * len(chosen))]
        question = f"{chatter(asked, str(number))}, kalau {' '.join(line.split()[:3])} bagaimana?"
        answer = line
        if compares and (careful or part(asked, "one document") > 0.3):
            answer = " ".join(" ".join(lines) for lines in passages)[:1400]
        if refuses and number == messages // 2 - 1:
            within = not careful and part(asked, "within") < 0.2
            question = line if within else f"{chatter(asked, 'end')}, ada {BEYOND[number]}?"
            if careful or part(asked, "told") > 0.25:
                answer = f"Maaf, {REFUSAL.lower()}. {REFUSAL}."
        said += [
            {"role": "user", "content": question},
            {"role": "model", "thought": f"Konteks menyebut: {line[:200]}", "content": answer},
        ]
    return said


def spoiled(said: list[dict[str, str]], asked: Asked) -> list[dict[str, str]]:
    """A dialogue, a fifth of the time with something wrong that no schema knows of."""
    point, last = part(asked, "spoiled"), said[-1]
    if point < 0.04:
        return [*said[1:], said[0]]
    if point < 0.08:
        return [{k: v for k, v in each.items() if k != "thought"} for each in said]
    if point < 0.12:
        return [*said[:-1], {**last, "content": last["content"] + " Rp123.456.789"}]
    if point < 0.16:
        return [*said, *said[:2]] if len(said) < 6 else said[:4]
    if point < 0.20 and REFUSAL not in last["content"]:
        return [*said[:-1], {**last, "content": "Tentu saja kami senang sekali membantu Bapak."}]
    return said


def project(folder: Path) -> Path:
    """A copy of the recipes and what they read, without any index made from it."""
    shutil.copytree(RECIPES, folder / "recipes", ignore=shutil.ignore_patterns("index"))
    return folder


def served(server: OpenAIServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}


def completed(folder: Path) -> list[dict[str, Any]]:
    found = query(folder / "synth.duckdb", "SELECT payload FROM events WHERE kind = 'sample.completed'")
    return [json.loads(payload) for (payload,) in found]


def all_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.jsonl")) for row in rows(path)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, rag_index: Path) -> tuple[Path, dict[str, Any]]:
    """The project after a run, a second one and a materialization; the first run's report."""
    folder = project(tmp_path_factory.mktemp("rag"))
    shutil.copytree(rag_index, folder / "recipes/index")
    faults = FaultPlan(rates={"malformed": 0.15, "fenced": 0.05, "rate_limit": 0.02}, retry_after=0.05)
    with OpenAIServer(answer=teacher, faults=faults) as server:
        ran = synth("run", "recipes/rag.recipe", *TEACHER, "--json", cwd=folder, env=served(server))
        assert ran.status == 0, ran.err
        total = server.total
        assert total == sum(step["issued"] for step in ran.json()["steps"])
        again = synth("run", "recipes/rag.recipe", *TEACHER, cwd=folder, env=served(server))
        assert again.status == 0, again.err
        assert server.total == total
    written = synth("materialize", "recipes/rag.recipe", *SET, cwd=folder)
    assert written.status == 0, written.err
    return folder, ran.json()


@pytest.mark.slow
def test_every_quota_is_exact(done: tuple[Path, dict[str, Any]]) -> None:
    folder, report = done
    assert report["cohorts"]["grounded"]["completed"] == SAMPLES
    assert report["sources"]["docs"]["documents"] == 48
    found = all_rows(folder / "out/rag")
    assert len({row["id"] for row in found}) == len(found) == SAMPLES
    assert set(Counter(row["category"] for row in found).values()) == {IN_CATEGORY}
    assert len({row["category"] for row in found}) == 12
    assert Counter(row["tier"] for row in found) == {
        "direct": SAMPLES * 2 // 5,
        "reasoning": SAMPLES * 2 // 5,
        "edge": SAMPLES // 5,
    }
    assert Counter(row["technique"] for row in found) == {
        "implicit_cot": SAMPLES // 2,
        "hard_negative": SAMPLES // 4,
        "camouflage": SAMPLES // 4,
    }
    assert set(Counter(row["person"] for row in found).values()) == {SAMPLES // 4}
    # The passages open each row.
    assert Counter(len(row["messages"]) - 1 for row in found) == dict.fromkeys((2, 4, 6), SAMPLES // 3)
    in_each = Counter((row["category"], row["tier"]) for row in found)
    assert {n for (_, tier), n in in_each.items() if tier == "edge"} == {IN_CATEGORY // 5}
    assert {n for (_, tier), n in in_each.items() if tier != "edge"} == {IN_CATEGORY * 2 // 5}


@pytest.mark.slow
def test_the_counts_of_the_run_and_of_its_log_add_up(done: tuple[Path, dict[str, Any]]) -> None:
    folder, report = done
    # Only the first run made anything; the second found it all.
    assert_counts_add_up(report, folder / "synth.duckdb")


@pytest.mark.slow
def test_no_conversation_breaks_what_its_technique_asks(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    plan = compile_file(folder / "recipes/rag.recipe", SETTINGS).plan
    (cohort,) = plan.cohorts
    cells = {canonical_json(dict(slot.cell.labels)): slot for slot in slots(plan, cohort)}
    seen: Counter[str] = Counter()
    index = NearDuplicates(0.9)
    for sample in completed(folder):
        slot, values = cells[canonical_json(sample["cell"])], sample["values"]
        known = {**environment(cohort, slot), **values}
        passages, dialogue = values["evidence"], values["dialogue"]
        for check in in_one_sample(cohort.step("dialogue").checks, known):
            assert run_check(check.name, check.arguments, dialogue) is None, (check.name, dialogue)
            seen[check.name] += 1
        assert [message["role"] for message in dialogue] == ["user", "model"] * int(known["turns"] / 2)
        assert {passage["document"].split("/")[0] for passage in passages} == {known["category"]["name"]}
        assert len(passages) == 3
        if known["technique"]["name"] == "camouflage":
            assert len({passage["document"] for passage in passages}) >= 2
        if known["technique"]["name"] == "hard_negative":
            assert REFUSAL in dialogue[-1]["content"]
        text = canonical_json(dialogue)
        assert index.find(text) is None
        index.keep(text, text)
        figures = {n for passage in passages for n in re.findall(r"\d+", passage["text"])}
        for message in dialogue[1::2]:
            assert message["thought"]
            assert set(re.findall(r"\d+", message["content"])) <= figures
    assert seen == {
        **dict.fromkeys(("turns", "alternates", "ends_with", "every", "supported_by", "distinct"), SAMPLES),
        **dict.fromkeys(("contains", "asks_beyond", "draws_on"), SAMPLES // 4),
    }


@pytest.mark.slow
def test_samples_of_one_category_see_different_passages(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    seen: dict[str, Counter[frozenset[str]]] = {}
    for sample in completed(folder):
        passages = frozenset(passage["id"] for passage in sample["values"]["evidence"])
        seen.setdefault(sample["cell"]["category"], Counter())[passages] += 1
    assert all(
        len(counts) > IN_CATEGORY * 40 // 85 and max(counts.values()) <= 1 + IN_CATEGORY // 12
        for counts in seen.values()
    )


@pytest.mark.slow
def test_the_log_explains_what_was_refused_and_what_was_looked_up(done: tuple[Path, dict[str, Any]]) -> None:
    folder, report = done
    assert {"retrieval.done", "step.rejected"} <= kinds_in(folder / "synth.duckdb")
    refused = query(
        folder / "synth.duckdb",
        "SELECT payload ->> 'check', payload ->> 'reason' FROM events WHERE kind = 'step.rejected'",
    )
    assert len(refused) == sum(report["rejections"].values())
    reasons: dict[str, set[str]] = {}
    for check, reason in refused:
        reasons.setdefault(check, set()).add(reason)
    for check, said in {
        "json_valid": "is fenced in ``` instead of being JSON alone",
        "turns": "has 4 turns; at most 2 are allowed",
        "alternates": "message 1 (model) stands where one of the user is due",
        "every": "message 2 (model) has no `thought`",
        "contains": f"does not hold `{REFUSAL}`",
        "draws_on": "needs 1 of its documents; at least 2 are asked for",
    }.items():
        assert said in reasons[check], check
    assert any(
        "holds the number `123456789`, which its evidence does not" in each
        for each in reasons["supported_by"]
    )
    assert any("of its words from its evidence" in each for each in reasons["supported_by"])
    assert all(
        each.startswith("asks with 100% of its words in one passage of `") for each in reasons["asks_beyond"]
    )
    looked_up = query(
        folder / "synth.duckdb",
        """SELECT count(*), count(DISTINCT payload ->> '$.index.digest'),
           min(json_array_length(payload -> 'chunks')) FROM events WHERE kind = 'retrieval.done'""",
    )
    assert looked_up == [(SAMPLES + report["cohorts"]["grounded"]["abandoned"], 1, 3)]
    (first,) = rows(folder / "out/rag/eval.jsonl")[:1]
    story = synth("show", first["id"], cwd=folder)
    assert story.status == 0, story.err
    for passage in re.split(r"^\[\d\] ", first["messages"][0]["content"], flags=re.MULTILINE)[1:]:
        assert passage.strip().splitlines()[-1] in story.out


@pytest.mark.slow
def test_without_index_and_documents_everything_else_goes_on(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = done
    shutil.copytree(folder, tmp_path / "bare")
    bare = tmp_path / "bare"
    shutil.rmtree(bare / "recipes/index")
    shutil.rmtree(bare / "recipes/data")
    again = synth("materialize", "recipes/rag.recipe", *SET, "--out", "again", cwd=bare)
    assert again.status == 0, again.err
    for name in ("train.jsonl", "eval.jsonl", "README.md", "manifest.json"):
        assert (bare / "again/out/rag" / name).read_bytes() == (folder / "out/rag" / name).read_bytes()
    verified = synth("verify", "out/rag", "--log", "synth.duckdb", cwd=bare)
    assert verified.status == 0, verified.err
    replayed = synth("replay", "recipes/rag.recipe", *SET, "--json", cwd=bare)
    assert replayed.status == 0, replayed.err
    assert replayed.json()["pending"] == 0


@pytest.mark.slow
def test_an_index_that_is_gone_is_made_again_and_nothing_is_paid_for(tmp_path: Path) -> None:
    """Two short documents in each category, since an embedder takes its time for each passage."""
    folder = project(tmp_path)
    for category in (folder / "recipes/data/unsiq").iterdir():
        first, second, *others = sorted(category.glob("*.md"))
        for document in (first, second):
            lines = document.read_text("utf-8").splitlines(keepends=True)
            document.write_text("".join(lines[:16]), "utf-8")
        for document in others:
            document.unlink()
    command = ("run", "recipes/rag.recipe", *TEACHER, "--set", "per_category=2", "--set", "top_k=2", "--json")
    with OpenAIServer(answer=careful) as server:
        ran = synth(*command, cwd=folder, env=served(server))
    assert ran.status == 0, ran.err
    assert ran.json()["cohorts"]["grounded"]["completed"] == 24
    shutil.rmtree(folder / "recipes/index")
    # Nobody answers there.
    env = {"OPENAI_BASE_URL": "http://127.0.0.1:9", "OPENAI_API_KEY": "k"}
    again = synth(*command, cwd=folder, env=env)
    assert again.status == 0, again.err
    assert again.json()["cohorts"]["grounded"]["found"] == 24
    assert again.json()["sources"]["docs"]["new"] == ran.json()["sources"]["docs"]["new"] == 24


@pytest.mark.slow
@pytest.mark.parametrize("thought", ["strip", "keep", "wrap"])
def test_thoughts_are_kept_dropped_or_wrapped_without_a_call(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, thought: str
) -> None:
    folder, _ = done
    settings = ("--set", f"thoughts={thought}", "--log", folder / "synth.duckdb")
    written = synth("materialize", folder / "recipes/rag.recipe", *SET, *settings, cwd=tmp_path)
    assert written.status == 0, written.err
    for row in all_rows(tmp_path / "out/rag"):
        request, *said = row["messages"]
        assert (request["role"], request["weight"]) == ("system", 0)
        assert request["content"].startswith("[1] ")
        assert [message["weight"] for message in said] == [0, 1] * (len(said) // 2)
        answers = said[1::2]
        assert all(("thought" in message) == (thought == "keep") for message in answers)
        assert all(
            message["content"].startswith("<think>Konteks") == (thought == "wrap") for message in answers
        )
