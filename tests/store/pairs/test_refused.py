"""Preferences as datasets: pairs of what was refused, and of both answers of a preference's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.base.errors import QuotaShort
from synth.compiler.compile import compile_text
from synth.store.dataset.materialize import materialize
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots
from tests.store.pairs.pairing import made, numbers, plan_of, read, told


def test_what_was_refused_is_the_other_side(tmp_path: Path) -> None:
    plan = plan_of("found")
    refused = {1: ["Far too long."], 5: ["Too long.", "Longer still."], 6: ["  ", "Answer 6."]}
    dataset = made(told(plan, refused), plan, tmp_path)
    found = read(dataset)
    assert [row["rejected"][0]["content"] for row in found] == ["Far too long.", "Too long.", "Longer still."]
    assert numbers(dataset) == [1, 5, 5]
    base = found[1]["id"].removesuffix("-0")
    assert found[2]["id"] == f"{base}-1"
    assert [message["content"] for message in found[0]["prompt"]] == ["Hello.", "Hi.", "What?"]
    assert dataset.manifest["source"] == {
        "preference": "found",
        "conversation": "direct",
        "lineage": "direct-1",
        "quota": None,
        "pairs": 3,
        "left_out": 2,
    }
    assert {side: sum(a["rows"] for a in by) for side, by in dataset.manifest["written_by"].items()} == {
        "chosen": 2,
        "rejected": 3,
    }


def test_a_count_of_what_was_refused(tmp_path: Path) -> None:
    refused = {0: ["a", "b", "c"], 1: ["d"], 4: ["e"], 8: ["f", "g"]}
    plan = plan_of("found", 5)
    story = told(plan, refused)
    found = [row["rejected"][0]["content"] for row in read(made(story, plan, tmp_path))]
    assert found == ["a", "b", "e", "f", "g"]
    with pytest.raises(QuotaShort) as caught:
        made(story, plan_of("found", 9), tmp_path)
    assert str(caught.value) == (
        "`found` asks for 9 pairs, and all refused attempts at `answer` make 7: "
        "lower its count, or take what is there with --partial"
    )
    assert made(story, plan_of("found", 9), tmp_path, partial=True).rows == {"train": 7}


JSON = """edition 1
recipe pairing { seed = 5 }
model base: model<chat, json> from simulated()
schema Command {
  action: text
  target: text
}
conversation direct times 1 {
  turn ask: user = "Do it."
  turn answer: model by base {
    prompt = "{{ ask }}"
    produces: json<Command>
    retry = 3
  }
}
preference found from direct {
  chosen = direct.answer
  rejected = attempts(direct.answer)
}
export train: preference from found to "out/train"
"""


def test_json_is_chosen_as_its_text_and_refused_as_it_was(tmp_path: Path) -> None:
    plan = compile_text(JSON).plan
    story = Story(plan)
    (slot,) = all_slots(plan, "direct")
    answer = {"target": "door", "action": "open"}
    refused = {"answer": [('Sure!  {"action": "open"}', "json_valid")]}
    story.complete(plan.cohort("direct"), slot, {"ask": "Do it.", "answer": answer}, refused=refused)
    (row,) = read(made(story, plan, tmp_path))
    assert row["chosen"][0]["content"] == '{"action":"open","target":"door"}'
    assert row["rejected"][0]["content"] == 'Sure!  {"action": "open"}'


BOTH = """edition 1
recipe pairing { seed = 5 }
model base: model<chat> from simulated()
conversation direct times 2 {
  turn ask: user = "Ask."
  turn answer: model by base {
    prompt = "{{ ask }}"
    check { length(1..40) }
    retry = 3
  }
}
preference twice from direct {
  turn good: model by base { prompt = "Well: {{ direct.ask }}" }
  turn bad: model by base { prompt = "Badly: {{ direct.ask }}" }
  chosen = good
  rejected = bad
}
preference better from direct {
  turn good: model by base { prompt = "Well: {{ direct.ask }}" }
  chosen = good
  rejected = attempts(direct.answer)
}
export first: preference from twice to "out/twice"
export second: preference from better to "out/better"
"""


def test_both_answers_of_a_preferences_own(tmp_path: Path) -> None:
    plan = compile_text(BOTH).plan
    story = Story(plan)
    for slot in all_slots(plan, "direct"):
        refused = {"answer": [("x", "length"), ("y", "length")]} if slot.position else None
        sample = {"ask": "Ask.", "answer": "Answer."}
        story.complete(plan.cohort("direct"), slot, sample, refused=refused)
        story.pair("twice", slot, {"good": "Good.", "bad": "Bad."})
        story.pair("better", slot, {"good": "Good."})
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        twice, better = materialize(plan, log, tmp_path)
    assert [
        [message["content"] for name in ("prompt", "chosen", "rejected") for message in row[name]]
        for row in (*read(twice), *read(better))
    ] == [["Ask.", "Good.", "Bad."]] * 2 + [["Ask.", "Good.", "x"], ["Ask.", "Good.", "y"]]
    assert len({row["id"] for row in (*read(twice), *read(better))}) == 4


def test_pairs_of_one_sample_fall_on_one_side_of_a_split(tmp_path: Path) -> None:
    plan = plan_of("found")
    (export,) = plan.exports
    plan = plan.model_copy(update={"exports": (export.model_copy(update={"split": "50"}),)})
    dataset = made(told(plan, {n: ["a", "b", "c"] for n in range(12)}), plan, tmp_path)
    sides = [{row["id"][:16] for row in rows(dataset.folder / f"{name}.jsonl")} for name in dataset.rows]
    assert all(sides)
    assert not sides[0] & sides[1]
