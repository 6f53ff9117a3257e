"""`rejected` exports: what was refused, as unpaired preferences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth.base.errors import QuotaShort
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.verify import read_manifest, verify_against_log
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots

RECIPE = """edition 1
recipe refusing { seed = 5 }

model base: model<chat> from simulated()

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
}

conversation direct over subject in subjects times 2 {
  step outline: text by base {
    prompt = "Outline."
    check { length(1..40) }
    retry = 3
  }
  turn ask: user by base {
    prompt = "{{ outline }}"
    check { length(1..40) }
    retry = 3
  }
  turn answer: model by base {
    prompt = "{{ ask }}"
    check { length(1..40) }
    retry = 3
  }
}

export refused: rejected from direct to "out/refused" { columns = [direct.subject] }
"""


@pytest.fixture
def plan() -> Plan:
    return compile_text(RECIPE).plan


def told(plan: Plan) -> Story:
    story = Story(plan)
    cohort, slots = plan.cohort("direct"), all_slots(plan, "direct")
    values = {"outline": "First this.", "ask": "What?", "answer": "That."}
    # In another order than that of the slots.
    story.complete(
        cohort, slots[3], values, refused={"answer": [("Too long.", "length"), (" ", "not_empty")]}
    )
    story.abandon(
        cohort,
        slots[0],
        {"answer": [("No.", "length"), ("No!", "no_words")]},
        values={"outline": "This.", "ask": "Why?"},
    )
    story.complete(
        cohort, slots[1], values, refused={"ask": [("Hm?", "length")], "outline": [("-", "length")]}
    )
    story.complete(cohort, slots[2], values)
    return story


def made(story: Story, plan: Plan, folder: Path, **options: Any) -> Dataset:
    log = folder / "log.duckdb"
    if not log.exists():
        story.write(log)
    with Log(log) as opened:
        (dataset,) = materialize(plan, opened, folder, **options)
    return dataset


def test_every_refused_attempt_is_a_row(plan: Plan, tmp_path: Path) -> None:
    dataset = made(told(plan), plan, tmp_path)
    found = rows(dataset.folder / "train.jsonl")
    names = [told(plan).name(plan.cohort("direct"), slot) for slot in all_slots(plan, "direct")]
    assert [row["id"] for row in found] == [
        f"{names[0]}-answer-0",
        f"{names[0]}-answer-1",
        f"{names[1]}-outline-0",
        f"{names[1]}-ask-0",
        f"{names[3]}-answer-0",
    ]
    assert found[1] == {
        "id": f"{names[0]}-answer-1",
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "No!"}],
        "label": False,
        "step": "answer",
        "check": "no_words",
        "reason": "is not as asked for",
        "subject": "law",
    }
    # What is not the model's to say in the conversation answers what it was shown.
    assert [row["prompt"][0]["content"] for row in found[2:4]] == ["Write outline.", "Write ask."]
    assert found[4]["prompt"] == [{"role": "user", "content": "What?"}]
    assert dataset.missing == 0


def test_the_manifest_and_the_card_count_what_was_refused(plan: Plan, tmp_path: Path) -> None:
    dataset = made(told(plan), plan, tmp_path)
    assert dataset.manifest["source"] == {
        "rejected": "direct",
        "lineage": "direct-1",
        "attempts": 5,
        "empty": 1,
    }
    assert dataset.manifest["rejected"] == {
        "answer": {"length": 2, "no_words": 1},
        "outline": {"length": 1},
        "ask": {"length": 1},
    }
    assert dataset.manifest["counts"] == {"subject": {"law": 2, "sea": 1}}
    card = (dataset.folder / "README.md").read_text()
    assert "| answer | no_words | 1 |" in card
    assert "Trained on" not in card
    with Log(tmp_path / "log.duckdb") as log:
        verify_against_log(dataset.folder, read_manifest(dataset.folder), log)


def test_a_turn_whose_conversation_is_not_known_answers_what_it_was_shown(plan: Plan, tmp_path: Path) -> None:
    story = Story(plan)
    slot = all_slots(plan, "direct")[0]
    story.abandon(plan.cohort("direct"), slot, {"answer": [("No.", "length")]})
    (row,) = rows(made(story, plan, tmp_path).folder / "train.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Write answer."}]


def test_a_sample_that_a_service_failed_and_a_later_run_completed_counts_once(
    plan: Plan, tmp_path: Path
) -> None:
    story = Story(plan)
    cohort, slot = plan.cohort("direct"), all_slots(plan, "direct")[0]
    story.abandon(cohort, slot, {"ask": [("Hm?", "length")]}, lasting=False)
    values = {"outline": "First this.", "ask": "What?", "answer": "That."}
    story.complete(cohort, slot, values, refused={"ask": [("Hm?", "length")]})
    assert made(story, plan, tmp_path).rows == {"train": 1}


def test_other_models_attempts_are_not_taken(plan: Plan, tmp_path: Path) -> None:
    story = told(plan)
    story.start("2")
    assert made(story, plan, tmp_path).rows == {"train": 0}


def test_a_conversation_that_never_ran(plan: Plan, tmp_path: Path) -> None:
    other = plan.model_copy(update={"seed": 6})
    with pytest.raises(QuotaShort, match="`synth run` it first"):
        made(told(plan), other, tmp_path)


def test_parquet_says_what_jsonl_says(plan: Plan, tmp_path: Path) -> None:
    story = told(plan)
    as_json = rows(made(story, plan, tmp_path).folder / "train.jsonl")
    (export,) = plan.exports
    other = plan.model_copy(update={"exports": (export.model_copy(update={"format": "parquet"}),)})
    path = made(story, other, tmp_path).folder / "train.parquet"
    with duckdb.connect() as connection:
        result = connection.execute(f"SELECT * FROM '{path}'")
        names = [column[0] for column in result.description or []]
        assert [dict(zip(names, row, strict=True)) for row in result.fetchall()] == as_json


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_datasets_loads_it_by_its_card(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    dataset = made(told(plan), plan, tmp_path)
    loaded: Any = load_dataset(str(dataset.folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == rows(dataset.folder / "train.jsonl")
    assert loaded["train"].features["label"].dtype == "bool"


def test_attempts_before_a_sample_was_lost_and_tried_again_are_rows(plan: Plan, tmp_path: Path) -> None:
    story = Story(plan)
    cohort, (first, second, *_) = plan.cohort("direct"), all_slots(plan, "direct")
    values = {"outline": "First this.", "ask": "What?", "answer": "That."}
    known = {"outline": "First this.", "ask": "Why?"}
    lost = [("No.", "length"), ("No!", "no_words")]
    story.abandon(cohort, first, {"answer": lost}, values=known)
    story.complete(cohort, first, values)
    story.abandon(cohort, second, {"answer": lost[:1]}, values=known)
    story.abandon(cohort, second, {"ask": [("Hm?", "length")]}, values={"outline": "First this."})
    story.complete(cohort, second, values, refused={"outline": [("-", "length")]})
    names = [story.name(cohort, slot) for slot in (first, second)]
    found = rows(made(story, plan, tmp_path).folder / "train.jsonl")
    assert [row["id"] for row in found] == [
        *(f"{names[0]}-answer-0", f"{names[0]}-answer-1"),
        *(f"{names[1]}-outline-0", f"{names[1]}-ask-0", f"{names[1]}-answer-0"),
    ]
    # Each replies to what was said then.
    assert [row["prompt"][0]["content"] for row in found if row["step"] == "answer"] == ["Why?"] * 3
