"""Preferences as datasets: pairs that were made."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import QuotaShort
from synth.compiler.plan.allot import allot
from synth.store.dataset.verify import read_manifest, verify_against_log
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.store.log.logs import all_slots
from tests.store.pairs.pairing import made, numbers, paired, plan_of, read, told, values


def test_a_pair_answers_what_was_said_before(tmp_path: Path) -> None:
    plan = plan_of("made")
    story = paired(plan, range(12))
    first = read(made(story, plan, tmp_path))[0]
    assert first == {
        "id": first["id"],
        "prompt": [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "What?"},
        ],
        "chosen": [{"role": "assistant", "content": "Answer 0."}],
        "rejected": [{"role": "assistant", "content": "Well, answer 0!"}],
        "tags": ["short"],
    }
    own = next(event for event in story.events if event.payload.get("of"))
    assert first["id"] == own.sample_id


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_pair_of_single_messages(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("made")
    (export,) = plan.exports
    update = {"type": "sharegpt_preference", "format": form}
    other = plan.model_copy(update={"exports": (export.model_copy(update=update),)})
    dataset = made(paired(plan, range(12)), other, tmp_path)
    needs("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    loaded: Any = load_dataset(str(dataset.folder), cache_dir=str(tmp_path / "cache"))
    found = loaded["train"].to_list()
    assert len(found) == 12
    assert {**found[0], "id": ""} == {
        "id": "",
        "conversations": [
            {"from": "human", "value": "Hello."},
            {"from": "gpt", "value": "Hi."},
            {"from": "human", "value": "What?"},
        ],
        "chosen": {"from": "gpt", "value": "Answer 0."},
        "rejected": {"from": "gpt", "value": "Well, answer 0!"},
        "tags": ["short"],
    }


def test_without_a_count_every_sample_has_its_pair(tmp_path: Path) -> None:
    plan = plan_of("made")
    assert numbers(made(paired(plan, [*range(6, 12), *range(6)]), plan, tmp_path)) == list(range(12))


def test_a_pair_that_was_given_up_is_not_missed(tmp_path: Path) -> None:
    plan = plan_of("made")
    story = paired(plan, range(11))
    pairs = plan.pair_cohorts[0]
    last = all_slots(plan, "direct")[11]
    base = story.name(plan.cohort("direct"), last)
    story.abandon(pairs, last, of=base, lasting=False)
    with pytest.raises(QuotaShort, match="`made` has 11 of 12 pairs: run it to the end"):
        made(story, plan, tmp_path)
    (tmp_path / "lost").mkdir()
    story.abandon(pairs, last, of=base)
    dataset = made(story, plan, tmp_path / "lost")
    assert (dataset.rows, dataset.missing, dataset.unit) == ({"train": 11}, 0, "pair")


def test_a_count_is_shared_equally_over_the_rows(tmp_path: Path) -> None:
    plan = plan_of("made", 7)
    assert numbers(made(paired(plan, range(12)), plan, tmp_path)) == [0, 1, 2, 4, 5, 8, 9]


def test_what_a_row_cannot_give_comes_from_the_others(tmp_path: Path) -> None:
    plan = plan_of("made", 7)
    # The first row has one pair only, and two more are owed.
    story = paired(plan, [2, 4, 5, 6, 7, 8, 9, 10])
    assert numbers(made(story, plan, tmp_path)) == [2, 4, 5, 6, 7, 8, 9]


def test_too_few_pairs_are_one_sentence(tmp_path: Path) -> None:
    plan = plan_of("made", 7)
    story = paired(plan, [0, 4, 8])
    with pytest.raises(QuotaShort) as caught:
        made(story, plan, tmp_path)
    assert str(caught.value) == (
        "`made` has 3 of 7 pairs: run it to the end, or take what is there with --partial"
    )
    dataset = made(story, plan, tmp_path, partial=True)
    assert (numbers(dataset), dataset.missing) == ([0, 4, 8], 4)
    card = (dataset.folder / "README.md").read_text()
    assert "3 rows of `preference`, pairs of answers from samples of `direct`, paired as `made` (of 7" in card


def test_pairs_that_no_run_can_make(tmp_path: Path) -> None:
    plan = plan_of("made", 7)
    story = paired(plan, [0, 1, 2, 3, 4, 5])
    for number in range(6, 12):
        slot = all_slots(plan, "direct")[number]
        story.abandon(plan.pair_cohorts[0], slot, of=story.name(plan.cohort("direct"), slot))
    with pytest.raises(QuotaShort) as caught:
        made(story, plan, tmp_path)
    assert str(caught.value) == (
        "`made` asks for 7 pairs, and all samples of `direct` make 6: "
        "lower its count, or take what is there with --partial"
    )


def test_a_conversation_that_is_not_made_yet(tmp_path: Path) -> None:
    plan = plan_of("made", 3)
    story = paired(plan, [0, 4, 8], told(plan, without=[11]))
    with pytest.raises(QuotaShort, match="`direct` has 11 of 12 samples: run it to the end"):
        made(story, plan, tmp_path)
    assert numbers(made(story, plan, tmp_path, partial=True)) == [0, 4, 8]


def test_a_pair_of_answers_that_are_the_same_is_none(tmp_path: Path) -> None:
    plan = plan_of("made", 3)
    story = told(plan)
    slots = all_slots(plan, "direct")
    for number, text in ((0, " Answer 0. "), (1, "Well."), (4, "Well."), (8, "Well.")):
        story.pair("made", slots[number], {"padded": text})
    dataset = made(story, plan, tmp_path)
    assert numbers(dataset) == [1, 4, 8]
    assert dataset.manifest["source"]["left_out"] == 1
    assert "Left out: 1, for" in (dataset.folder / "README.md").read_text()


def test_pairs_of_other_models_answers_are_not_taken(tmp_path: Path) -> None:
    """The last run made the conversation anew with other models: earlier pairs are not of it."""
    plan = plan_of("made", 3)
    story = paired(plan, range(12))
    story.start("2")
    for slot in all_slots(plan, "direct"):
        story.complete(plan.cohort("direct"), slot, values(100 + slot.position))
    with pytest.raises(QuotaShort, match="`made` has 0 of 3 pairs"):
        made(story, plan, tmp_path)
    (tmp_path / "again").mkdir()
    assert numbers(made(paired(plan, [0, 4, 8], story), plan, tmp_path / "again")) == [100, 104, 108]


@settings(max_examples=25, deadline=None)
@given(quota=st.integers(0, 12), there=st.sets(st.integers(0, 11)), back=st.booleans())
def test_the_first_pairs_of_each_row_are_taken(
    tmp_path_factory: pytest.TempPathFactory, quota: int, there: set[int], back: bool
) -> None:
    plan = plan_of("made", quota)
    order = sorted(there, reverse=back)
    dataset = made(paired(plan, order), plan, tmp_path_factory.mktemp("pairs"), partial=True)
    taken = numbers(dataset)
    assert taken == sorted(set(taken) & there)
    assert len(taken) == min(quota, len(there))
    by_row = [[n for n in sorted(there) if n // 4 == row] for row in range(3)]
    shares = allot(quota, [4, 4, 4])
    for of_row, share in zip_longest(by_row, shares):
        assert set(of_row[:share]) <= set(taken)
    counts = Counter(n // 4 for n in taken)
    assert dataset.manifest["counts"]["subject"] == {
        label: counts[row] for row, label in enumerate(("law", "sea", "sky")) if counts[row]
    }


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", ["made", "found"])
def test_the_same_bytes_whatever_the_threads(tmp_path: Path, form: str, name: str) -> None:
    plan = plan_of(name, 5)
    (export,) = plan.exports
    plan = plan.model_copy(update={"exports": (export.model_copy(update={"format": form}),)})
    story = paired(plan, range(12), told(plan, {n: ["Long.", "Longer."] for n in range(12)}))
    found = []
    for threads in (1, 4):
        folder = made(story, plan, tmp_path, threads=threads).folder
        found.append({p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())})
    assert found[0] == found[1]
    with Log(tmp_path / "log.duckdb") as log:
        verify_against_log(folder, read_manifest(folder), log)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_datasets_and_trl_take_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("datasets", "trl")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset
    from trl.data_utils import is_conversational

    plan = plan_of("made")
    dataset = made(paired(plan, range(12)), plan, tmp_path)
    loaded: Any = load_dataset(str(dataset.folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == read(dataset)
    assert is_conversational(loaded["train"][0])
