"""Conditions from the first call to the last row: what is left out costs nothing, and is missing nowhere."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, query, rows, synth

RECIPE = """edition 1
recipe talks { seed = 4 }

model one: model<chat, json> from openai("one")

schema Trade { about: text, hard: boolean, near: text? }
set trades: Trade {
  law { about = "courts", hard = true, near = "tax law" }
  sea { about = "ports", hard = false }
}
schema Verdict { clear: boolean, why: text(1..60) }

conversation talks times 24 {
  draw trade from trades
  draw exchanges from [2, 3]
  let twist = "It should sound like {{ trade.near }}." when trade.near
  let plain = "Say it plainly." unless trade.near
  let task = either(twist, plain)
  turn ask: user by one {
    prompt = "Ask about {{ trade.about }}. {{ task }}"
    check { distinct(similarity = 0.95) }
    retry = 2
  }
  step verdict: json<Verdict> by one { prompt = "Is this clear? {{ ask }}", retry = 2 }
  turn short: model by one when verdict.clear { prompt = "Short: {{ ask }}" }
  turn long: model by one unless verdict.clear { prompt = "Long: {{ ask }} {{ verdict.why }}" }
  let reply = either(short, long)
  turn more: user by one when exchanges in 3.. { prompt = "Ask more than: {{ reply }}" }
  turn closing: model by one when more {
    sees = transcript
    check { length(20..) }
    retry = 3
  }
  train_on = [long, closing, short]
}

export sft: messages from talks to "out/sft" {
  columns { exchanges = talks.exchanges, closing = talks.closing, twist = talks.twist }
}
export parts: prompt_completion from talks to "out/parts"
export kto: unpaired from talks to "out/kto"
export refused: rejected from talks to "out/refused"
preference better from talks {
  chosen = talks.closing
  rejected = attempts(talks.closing)
}
export dpo: preference from better to "out/dpo"
"""


def number(asked: Asked) -> int:
    return sha256(asked.key.encode()).digest()[0]


def answer(asked: Asked) -> str:
    digest = sha256(asked.key.encode()).hexdigest()
    if asked.schema is not None:
        return json.dumps({"clear": number(asked) % 2 == 0, "why": digest[:9]})
    # A fifth of the closings are too short.
    if len(asked.messages) > 1 and number(asked) < 50:
        return "No."
    return " ".join(digest[at : at + 6] for at in range(0, 60, 6))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[Asked]]:
    """The project after a run in two parts and a materialization, the report, and what was asked."""
    folder = tmp_path_factory.mktemp("conditions")
    (folder / "talks.recipe").write_text(RECIPE)
    asked: list[Asked] = []

    def said(each: Asked) -> str:
        asked.append(each)
        return answer(each)

    faults = FaultPlan(rates={"malformed": 0.1, "rate_limit": 0.02}, retry_after=0.01)
    with OpenAIServer(answer=said, faults=faults) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}

        def run(*more: str) -> Result:
            return synth("run", "talks.recipe", "--json", *more, cwd=folder, env=environment)

        assert run("--max-calls", "40").status != 0
        last = run()
        assert last.status == 0, last.err
        before = server.total
        assert run().status == 0
        assert server.total == before, "nothing is asked for twice"
    written = synth("materialize", "talks.recipe", cwd=folder)
    assert written.status == 0, written.err
    return folder, last.json(), asked


def samples(folder: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Draws and values of each completed sample."""
    found = query(
        folder / "synth.duckdb",
        "SELECT CAST(payload.cell AS VARCHAR), CAST(payload.values AS VARCHAR) FROM events "
        "WHERE kind = 'sample.completed' ORDER BY seq",
    )
    return [(json.loads(cell), json.loads(values)) for cell, values in found]


def test_what_a_condition_leaves_out_is_null_and_is_never_asked_for(
    done: tuple[Path, dict[str, Any], list[Asked]],
) -> None:
    folder, _, asked = done
    made = samples(folder)
    assert len(made) == 24
    for cell, values in made:
        clear = values["verdict"]["clear"]
        assert (values["short"] is not None, values["long"] is not None) == (clear, not clear)
        assert (values["more"] is not None) == (cell["exchanges"] == "3")
        assert (values["closing"] is not None) == (cell["exchanges"] == "3")
        assert (values["twist"] is not None) == (cell["trade"] == "law")
        assert values["task"] == (values["twist"] or values["plain"])
        assert values["reply"] == (values["short"] or values["long"])
    assert sum(values["closing"] is None for _, values in made) == 12, "draws are exact"
    steps = query(
        folder / "synth.duckdb",
        "SELECT step, count(DISTINCT sample_id) FROM events WHERE kind = 'call.completed' GROUP BY step",
    )
    counts = dict(steps)
    kept = [values for _, values in made]
    assert counts["closing"] == 12
    assert counts["short"] + counts["long"] == counts["verdict"]
    assert counts["long"] >= sum(values["long"] is not None for values in kept)
    for each in asked:
        if len(each.messages) > 1:
            assert [role for role, _ in each.messages] == ["user", "assistant", "user"]


def test_rows_hold_what_was_said(done: tuple[Path, dict[str, Any], list[Asked]]) -> None:
    folder, _, _ = done
    made = [values for _, values in samples(folder)]
    found = rows(folder / "out/sft/train.jsonl")
    assert len(found) == 24
    by_ask = {values["ask"]: values for values in made}
    for row in found:
        values = by_ask[row["messages"][0]["content"]]
        said = [values[name] for name in ("ask", "short", "long", "more", "closing") if values[name]]
        assert [each["content"] for each in row["messages"]] == said
        assert [each["weight"] for each in row["messages"]] == [0, 1, 0, 1][: len(said)]
        assert (row["closing"], row["twist"]) == (values["closing"], values["twist"])
    trained = sum(values[name] is not None for values in made for name in ("short", "long", "closing"))
    parts = rows(folder / "out/parts/train.jsonl")
    assert len(parts) == trained == 36
    assert all(len(row["prompt"]) in (1, 3) for row in parts)
    labelled = rows(folder / "out/kto/train.jsonl")
    assert sum(row["label"] for row in labelled) == trained
    refused = rows(folder / "out/refused/train.jsonl")
    closings = [row for row in refused if row["step"] == "closing"]
    assert closings
    assert all([each["role"] for each in row["prompt"]] == ["user", "assistant", "user"] for row in closings)
    pairs = rows(folder / "out/dpo/train.jsonl")
    assert pairs
    assert all(len(row["prompt"]) == 3 for row in pairs)


def test_it_is_replayed_verified_and_looked_at(done: tuple[Path, dict[str, Any], list[Asked]]) -> None:
    folder, _, _ = done
    assert synth("replay", "talks.recipe", cwd=folder).status == 0
    for name in ("sft", "parts", "kto", "refused", "dpo"):
        assert synth("verify", f"out/{name}", cwd=folder).status == 0
    short = next(row["id"] for row in rows(folder / "out/sft/train.jsonl") if row["closing"] is None)
    shown = synth("show", short, cwd=folder)
    assert "closing: left out by its condition" in shown.out
    card = (folder / "out/sft/README.md").read_text("utf-8")
    assert "closing" in card


def test_what_is_foreseen_is_what_is_asked_for(done: tuple[Path, dict[str, Any], list[Asked]]) -> None:
    folder, _, _ = done

    def steps(*more: str) -> dict[str, tuple[int, int]]:
        out = synth("compile", "talks.recipe", "--json", *more, cwd=folder).json()
        return {each["step"]: (each["calls"], each["reused"]) for each in out["steps"]}

    fresh = steps()
    assert fresh == {
        **dict.fromkeys(("ask", "verdict", "short", "long"), (24, 0)),
        **dict.fromkeys(("more", "closing"), (12, 0)),
    }, "draws decide exactly, and what a model decides is taken to hold"
    assert {new for new, _ in steps("--log", "synth.duckdb").values()} == {0}


def test_it_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "talks.recipe").write_text(RECIPE)
    assert synth("run", "talks.recipe", "--simulate", cwd=tmp_path).status == 0
    assert synth("materialize", "talks.recipe", "--partial", cwd=tmp_path).status == 0
    assert len(rows(tmp_path / "out/sft/train.jsonl")) == 24
