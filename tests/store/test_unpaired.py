"""`unpaired` exports: the trained turns as accepted beside what was refused of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import QuotaShort, RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.verify import read_manifest, verify_against_log
from synth.store.log.log import Log
from tests.kit.support import rows, synth
from tests.store.log.logs import Story, all_slots

RECIPE = """edition 1
recipe unpaired { seed = 5 }

model base: model<chat> from simulated()

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
}

conversation direct over subject in subjects times 2 {
  turn ask: user = "What of {{ subject.about }}?"
  turn reply: model by base {
    prompt = "{{ ask }}"
    check { length(1..40) }
    retry = 3
  }
  turn more: user = "And?"
  turn answer: model by base {
    prompt = "{{ more }}"
    check {
      length(1..40)
      distinct(similarity = 0.9)
    }
    retry = 3
  }
  train_on = [answer]
}

export judged: unpaired from direct to "out/judged" { columns = [direct.subject] }
"""
VALUES = {"ask": "What?", "reply": "This.", "more": "And?", "answer": "That."}


@pytest.fixture
def plan() -> Plan:
    return compile_text(RECIPE).plan


def told(plan: Plan, left: int = 0) -> Story:
    """All samples but so many, and what was refused on the way."""
    story = Story(plan)
    cohort, slots = plan.cohort("direct"), all_slots(plan, "direct")
    refused = [
        {
            "answer": [
                ("Too long.", "length"),
                (" ", "not_empty"),
                ("That.", "length"),
                ("Those.", "distinct"),
            ]
        },
        {"reply": [("Hm.", "length")]},
        {"answer": [("Well, that.", "length")], "reply": [("Hm.", "length")]},
        {},
    ]
    for slot, attempts in list(zip(slots, refused, strict=True))[: len(slots) - left]:
        story.complete(cohort, slot, VALUES, refused=attempts)
    story.abandon(
        cohort,
        slots[1],
        {"answer": [("No.", "length")]},
        values={"ask": "What?", "reply": "Oh.", "more": "And?"},
        ordinal=7,
    )
    # The turn before it is not known, so what it answered is not.
    story.abandon(cohort, slots[2], {"answer": [("No!", "length")]}, ordinal=8, values={"ask": "What?"})
    return story


def made(story: Story, plan: Plan, folder: Path, **options: Any) -> Dataset:
    with Log(story.write(folder / "log.duckdb")) as opened:
        (dataset,) = materialize(plan, opened, folder, **options)
        verify_against_log(dataset.folder, read_manifest(dataset.folder), opened, plan)
    return dataset


def test_trained_turns_are_true_and_their_refused_attempts_false(plan: Plan, tmp_path: Path) -> None:
    story = told(plan)
    dataset = made(story, plan, tmp_path)
    found = rows(dataset.folder / "train.jsonl")
    cohort, slots = plan.cohort("direct"), all_slots(plan, "direct")
    names = [story.name(cohort, slot) for slot in slots]
    assert [(row["id"], row["label"]) for row in found] == [
        (f"{names[0]}-answer", True),
        (f"{names[0]}-answer-0", False),
        (f"{names[1]}-answer", True),
        (f"{names[2]}-answer", True),
        (f"{names[2]}-answer-0", False),
        (f"{names[3]}-answer", True),
        (f"{story.name(cohort, slots[1], 7)}-answer-0", False),
    ]
    assert found[1] == {
        "id": f"{names[0]}-answer-0",
        "prompt": [
            {"role": "user", "content": "What?"},
            {"role": "assistant", "content": "This."},
            {"role": "user", "content": "And?"},
        ],
        "completion": [{"role": "assistant", "content": "Too long."}],
        "label": False,
        "subject": dict(slots[0].cell.labels)["subject"],
    }
    assert {**found[0], "id": 0, "completion": 0, "label": 0} == {
        **found[1],
        "id": 0,
        "completion": 0,
        "label": 0,
    }
    assert found[0]["completion"] == [{"role": "assistant", "content": "That."}]
    assert found[-1]["prompt"][1]["content"] == "Oh."


def test_the_manifest_and_the_card_count_both(plan: Plan, tmp_path: Path) -> None:
    dataset = made(told(plan), plan, tmp_path)
    assert dataset.manifest["source"] == {
        "unpaired": "direct",
        "lineage": "direct-1",
        "quota": 4,
        "samples": 4,
        "labels": {"train": {"true": 4, "false": 3}},
        "left_out": 4,
    }
    assert dataset.manifest["rejected"] == {"answer": {"length": 3}}
    assert dataset.manifest["written_by"]["answer"][0]["rows"] == 7
    card = (dataset.folder / "README.md").read_text()
    assert "from 4 samples of `direct`: 4 trained turns as accepted (`label` true), and 3 attempts" in card
    assert "| answer | length | 3 |" in card
    assert dataset.warnings == []


def test_a_sides_rows_are_of_whole_samples(plan: Plan, tmp_path: Path) -> None:
    (export,) = plan.exports
    split = plan.model_copy(update={"exports": (export.model_copy(update={"split": "50"}),)})
    dataset = made(told(plan), split, tmp_path)
    sides = [rows(dataset.folder / f"{name}.jsonl") for name in ("train", "eval")]
    assert sum(map(len, sides)) == 7
    train, held_out = ({row["id"].split("-")[0] for row in side} for side in sides)
    assert not train & held_out
    for name, side in zip(("train", "eval"), sides, strict=True):
        counted = dataset.manifest["source"]["labels"].get(name, {"true": 0, "false": 0})
        assert counted["true"] == sum(row["label"] for row in side)
        assert counted["false"] == sum(not row["label"] for row in side)


def test_a_label_that_no_row_has_is_said(plan: Plan, tmp_path: Path) -> None:
    story = Story(plan)
    for slot in all_slots(plan, "direct"):
        story.complete(plan.cohort("direct"), slot, VALUES)
    (tmp_path / "my.recipe").write_text(RECIPE)
    story.write(tmp_path / "synth.duckdb")
    done = synth("materialize", "my.recipe", cwd=tmp_path)
    assert done.status == 0
    assert "train: 4 labelled true, 0 labelled false" in done.out
    assert done.err.strip() == "warning: no row of train has the label false, and KTO compares rows of both"


def test_missing_samples_are_said(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(QuotaShort, match="`direct` has 3 of 4 samples"):
        made(told(plan, left=1), plan, tmp_path)
    (tmp_path / "log.duckdb").unlink()
    assert made(told(plan, left=1), plan, tmp_path, partial=True).missing == 1


def test_a_conversation_that_one_step_writes_has_no_turns_to_refuse() -> None:
    text = """edition 1
recipe unpaired { seed = 5 }
model base: model<chat, json> from simulated()
schema Message { role: enum<user, model>, content: text }
conversation direct times 2 {
  step dialogue: json<list<Message>(2..2)> by base { prompt = "Write two messages." }
  transcript = dialogue
  train_on = every(model)
}
export judged: unpaired from direct to "out/judged"
"""
    with pytest.raises(RecipeError) as caught:
        compile_text(text)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (
        "E202",
        "`direct` is written by one step, and `unpaired` is made of turns",
    )
