"""The recipes of known methods that mark, choose and revise: simulated, and against a service that errs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.cli.init import METHODS
from tests.judging.test_candidates import marks
from tests.kit.servers.answers import instance
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

JUDGING = ("judged", "ultrafeedback", "evol_instruct", "constitution", "persona_dialogue", "grounded_qa")
FAULTS = FaultPlan(rates={"rate_limit": 0.05, "server_error": 0.05, "cut": 0.02}, retry_after=0.01)
MODELS = {
    "persona_dialogue": ("person", "helper", "judge"),
    "constitution": ("writer", "critic"),
    "grounded_qa": ("teacher", "judge"),
}


def said(asked: Asked) -> str | Raw:
    """Marks by the text, whose reasons are sentences; anything else by the call."""
    if asked.schema is None:
        return f"Answer {asked.key[:12]} of the service."
    last = asked.messages[-1][1]
    if "The text:\n" not in last:
        made = instance(asked.schema, asked.key)
        if "quote" in made:
            # The longest line of the passage, word for word.
            passage = max(last.partition("\n\n")[0].splitlines(), key=len)
            made["quote"] = passage[-200:].strip()
        return json.dumps(made)
    return json.dumps(
        {
            name: {"why": f"It is so for {name}.", "mark": _mark(schema["properties"]["mark"], last + name)}
            for name, schema in asked.schema["properties"].items()
        }
    )


def _mark(schema: Any, text: str) -> int:
    low, high = schema["minimum"], schema["maximum"]
    return int(low + (marks(text)["helpful"] - 1) * (high - low) // 4)


def materialized(folder: Path, name: str, *given: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each dataset of a run recipe, which replay and verify agree with."""
    for command in ("materialize", "replay"):
        done = synth(command, f"{name}.recipe", *given, cwd=folder)
        assert done.status == 0, done.err
    found = {}
    for out in sorted((folder / "out").iterdir()):
        verified = synth("verify", f"out/{out.name}", "--log", "synth.duckdb", cwd=folder)
        assert verified.status == 0, verified.err
        found[out.name] = rows(out / "train.jsonl")
    return found


@pytest.mark.parametrize("name", [*JUDGING, "magpie"])
def test_a_method_runs_simulated_as_it_is(name: str, tmp_path: Path) -> None:
    assert synth("init", "--from", name, cwd=tmp_path).status == 0
    few = ("--set", "chats=12") if name == "magpie" else ()
    ran = synth("run", f"{name}.recipe", "--simulate", *few, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert METHODS[name].does
    head = (tmp_path / f"{name}.recipe").read_text("utf-8").split("recipe ")[0]
    assert "calls" in head, "it says what it costs"
    assert ("20" in head and '"' in head) == (name != "judged"), "and from which paper it takes what"


@pytest.mark.parametrize("name", JUDGING)
def test_a_method_runs_on_a_service_that_errs(name: str, tmp_path: Path) -> None:
    assert synth("init", "--from", name, cwd=tmp_path).status == 0
    mapped = [f"--model={each}=openai:{each}" for each in MODELS.get(name, ("writer", "judge"))]
    with OpenAIServer(answer=said, faults=FAULTS) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        for _ in range(2):
            ran = synth("run", f"{name}.recipe", *mapped, cwd=tmp_path, env=environment)
            assert ran.status == 0, ran.err
            total = server.total
        assert server.total == total, "nothing is asked twice"
    made = materialized(tmp_path, name)
    assert all(made.values()), {each: len(found) for each, found in made.items()}
    if name == "judged":
        for row in made["judged_pairs"]:
            assert row["chosen_mark"] - row["rejected_mark"] >= 3
    if name == "evol_instruct":
        # Each question is there after each round, evolved or as its parent.
        assert len(made[name]) == 50
        kept = [row for row in made[name] if row["gain"] < 6]
        assert kept
        asked = {row["messages"][0]["content"] for row in made[name] if row["source"] == "first"}
        seeds = (tmp_path / "data/seeds.csv").read_text("utf-8")
        for row in kept:
            question = row["messages"][0]["content"]
            assert question in (seeds if row["source"] == "first" else asked)
    if name == "constitution":
        prompts = query(
            tmp_path / "synth.duckdb",
            "SELECT DISTINCT payload ->> 'messages' FROM events WHERE step = 'answer' AND attempt = 1 "
            "AND kind = 'call.completed'",
        )
        assert prompts
        assert all("A critic said: kept is" in shown or "It is so for kept." in shown for (shown,) in prompts)


def test_all_forms_open_as_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert synth("init", "--from", "ultrafeedback", cwd=tmp_path).status == 0
    assert synth("run", "ultrafeedback.recipe", "--simulate", cwd=tmp_path).status == 0
    for name, made in materialized(tmp_path, "ultrafeedback").items():
        loaded = datasets.load_dataset(str(tmp_path / "out" / name), cache_dir=str(tmp_path / "cache"))
        assert loaded["train"].num_rows == len(made)
        assert set(loaded["train"].column_names) == set(made[0])
