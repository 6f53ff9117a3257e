"""Candidates, marks and all that is made of them in a run, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.support import rows, synth

RECIPE = """edition 1

recipe judging { seed = 17 }

model writer: model<chat, json> from simulated()
model judge: model<chat, json> from simulated()

schema Prompt { id: text, instruction: text }

source prompts: Prompt from jsonl("prompts.jsonl", id = "id")

rubric quality by judge {
  helpful 1..5 = "Does it do what was asked?"
  truthful 1..5 = "Is everything in it true?"
}

conversation answered 12 over prompt in prompts {
  step draft: text by writer { prompt = "Draft.", candidates = 2, marks = quality, pick = best }
  turn ask: user = "{{ prompt.instruction }}"
  turn answer: model by writer {
    sees = transcript
    candidates = 3
    marks = quality
    pick = best
    check { marked(quality.truthful, 2..) }
    retry = 2
  }
  train_on = [answer]
}

preference pairs from answered {
  chosen = best(answered.answer)
  rejected = worst(answered.answer)
  margin = 3
}

preference drafts from answered {
  chosen = best(answered.draft)
  rejected = worst(answered.draft)
}

preference padded 8 from answered {
  turn pad: model by writer { prompt = "Pad {{ answered.ask }}" }
  chosen = best(answered.answer)
  rejected = pad
}

mix all { one 100% from answered }

export sft: messages from all to "out/sft" { columns = [answered.answer.quality.total] }
export dpo: preference from pairs to "out/dpo" {
  columns = [pairs.chosen_mark, pairs.rejected_mark]
  split = 50%
}
export shared: sharegpt_preference from drafts to "out/shared"
export pads: preference from padded to "out/pads" { columns = [padded.chosen_mark] }
export kto: unpaired from answered to "out/kto"
export bad: rejected from answered to "out/bad"
export ranks: ranked from answered to "out/ranks" {
  step = answered.answer
  columns = [answered.prompt.instruction]
}
"""


def test_a_run_gives_every_form_and_each_holds_against_its_log(tmp_path: Path) -> None:
    (tmp_path / "judging.recipe").write_text(RECIPE, "utf-8")
    with (tmp_path / "prompts.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(20):
            lines.write(json.dumps({"id": f"p{number}", "instruction": f"Tell of {number}."}) + "\n")

    def run(*arguments: str) -> str:
        done = synth(*arguments, cwd=tmp_path)
        assert done.status == 0, done.err
        # The drafts are for their pairs alone, and used by that.
        assert "W701" not in done.err
        return done.out

    run("run", "judging.recipe", "--simulate", "--log", "log.duckdb")
    said = run("materialize", "judging.recipe", "--simulate", "--log", "log.duckdb")
    out = tmp_path / "out"
    pairs = [row for side in ("train", "eval") for row in rows(out / "dpo" / f"{side}.jsonl")]
    ranks = {row["id"]: row for row in rows(out / "ranks/train.jsonl")}
    sft = {row["id"]: row for row in rows(out / "sft/train.jsonl")}
    assert len(ranks) == len(sft) == 12
    for name, row in ranks.items():
        assert row["marks"] == sorted(row["marks"], reverse=True)
        # What stands is the best that was not refused.
        answer = sft[name]["messages"][-1]["content"]
        assert row["marks"][row["responses"].index(answer)] == sft[name]["total"]
    assert pairs
    for row in pairs:
        assert row["chosen_mark"] - row["rejected_mark"] >= 3
        marks = ranks[row["id"]]["marks"]
        assert row["rejected_mark"] == marks[-1]
        worst = ranks[row["id"]]["responses"][marks.index(marks[-1])]
        assert row["rejected"][0]["content"] == worst
    below = json.loads((out / "dpo/manifest.json").read_text("utf-8"))["source"]["below_margin"]
    assert below == 12 - len(pairs)
    assert f"{below} pairs left out, whose marks are less than 3 apart" in said
    assert len(rows(out / "pads/train.jsonl")) == 8
    assert {row["conversations"][0]["value"] for row in rows(out / "shared/train.jsonl")} == {"Draft."}
    ids = [row["id"] for name in ("kto", "bad") for row in rows(out / name / "train.jsonl")]
    assert max(map(ids.count, ids)) <= 2
    for name in ("sft", "dpo", "shared", "pads", "kto", "bad", "ranks"):
        run("verify", f"out/{name}", "--log", "log.duckdb")
