"""All kinds of datasets from one log, by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.support import one_sentence, rows, synth

RECIPE = """edition 1
recipe outputs { seed = 3 }

model base: model<chat, json> from simulated()

schema Message {
  role: enum<user, model>
  thought: text?
  content: text(1..80)
}

conversation direct times 12 {
  turn ask: user by base { prompt = "Ask." }
  turn answer: model by base { prompt = "{{ ask }}" }
}

conversation grounded times 8 {
  step dialogue: json<list<Message>(2..2)> by base { prompt = "Write two messages." }
  transcript = dialogue
  train_on = every(model)
  tags = ["grounded"]
}

preference corrections 5 from direct {
  turn padded: model by base { prompt = "Pad: {{ direct.ask }}" }
  chosen = direct.answer
  rejected = padded
}

source natural: messages from jsonl("natural.jsonl") {
  keep { no_words("secret") }
}

mix training {
  synthetic 50% from [direct, grounded]
  natural 50% from natural
}

export sft: messages from training to "out/sft" { thought = wrap }
export pairs: preference from corrections to "out/pairs"
export refused: rejected from direct to "out/refused"
export dialogues: sharegpt from grounded to "out/dialogues" {
  thought = keep
  format = parquet
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose recipe has run."""
    (tmp_path / "outputs.recipe").write_text(RECIPE)
    natural = [
        {"prompt": f"Question {n}?", "response": "It is secret." if n % 5 == 0 else f"Answer {n}."}
        for n in range(30)
    ]
    (tmp_path / "natural.jsonl").write_text("".join(json.dumps(row) + "\n" for row in natural))
    assert synth("run", "outputs.recipe", "--simulate", cwd=tmp_path).status == 0
    return tmp_path


def test_every_kind_of_dataset_is_written_and_verified(project: Path) -> None:
    done = synth("materialize", "outputs.recipe", cwd=project)
    assert done.status == 0, done.err
    assert "synthetic 50%: 20 of 20" in done.out
    assert "natural: 30 rows read, 6 fell to no_words" in done.out
    assert [len(rows(project / f"out/{name}/train.jsonl")) for name in ("sft", "pairs", "refused")] == [
        40,
        5,
        0,
    ]
    sft = rows(project / "out/sft/train.jsonl")
    assert {row["source"]: row["tags"] for row in sft} == {
        "direct": [],
        "grounded": ["grounded"],
        "natural": [],
    }
    for name in ("sft", "pairs", "refused", "dialogues"):
        found = synth("verify", f"out/{name}", "--log", "synth.duckdb", cwd=project)
        assert (found.status, found.err) == (0, ""), name


def test_a_changed_mix_is_materialized_and_verified_without_a_run(project: Path) -> None:
    (project / "other.recipe").write_text(
        RECIPE.replace("synthetic 50%", "synthetic 80%").replace("natural 50%", "natural 20%")
    )
    assert synth("materialize", "other.recipe", cwd=project).status == 0
    assert len(rows(project / "out/sft/train.jsonl")) == 25
    verify = ("verify", "out/sft", "--log", "synth.duckdb")
    sentence = one_sentence(synth(*verify, cwd=project), 4)
    assert sentence.endswith("name the recipe with --recipe")
    assert synth(*verify, "--recipe", "other.recipe", cwd=project).status == 0
    sentence = one_sentence(synth(*verify, "--recipe", "outputs.recipe", cwd=project), 4)
    assert "was made by another plan" in sentence


def test_a_short_mix_is_one_sentence_and_exit_status_3(project: Path) -> None:
    (project / "other.recipe").write_text(
        RECIPE.replace("mix training {", "mix training {\n  total = 40")
        .replace("synthetic 50%", "synthetic 20%")
        .replace("natural 50%", "natural 80%")
    )
    result = synth("materialize", "other.recipe", cwd=project)
    sentence = one_sentence(result, 3)
    assert "`natural` needs 32 rows and has 24 (6 of 30 fell to its `keep`: no_words 6)" in sentence
    assert not (project / "out").exists()
