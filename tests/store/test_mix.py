"""Mixes: exact shares of what there is, evenly interleaved, the same bytes every time."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import Diverged, QuotaShort
from synth.compiler.compile import compile_text
from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import MixPart
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.verify import read_manifest, verify_against_log, verify_files
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.kit.support import SOAK, rows
from tests.store.log.logs import Story, all_slots, chat

RECIPE = """edition 1
recipe mixing { seed = 5 }

model base: model<chat> from simulated()

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
}

conversation identity over subject in subjects times 20 {
  turn ask: user = "Who are you, in {{ subject.about }}?"
  turn answer: model by base { prompt = "{{ ask }}" }
}

conversation commands times 30 {
  turn ask: user = "Do it."
  turn answer: model by base { prompt = "{{ ask }}" }
  tags = ["negative"]
}

source natural: messages from jsonl("natural.jsonl")

source map: messages from jsonl("map.jsonl")

mix training {
  synthetic 50% from [identity, commands]
  natural 30% from natural
  cognitive 20% from map
}

export train: messages from training to "out/train"
"""


def plan_of(**mix: Any) -> Plan:
    """The plan with its mix changed; `shares` are those of its parts."""
    plan = compile_text(RECIPE).plan
    (old,) = plan.mixes
    if "shares" in mix:
        parts = zip(old.parts, mix.pop("shares"), strict=True)
        mix["parts"] = tuple(part.model_copy(update={"share": share}) for part, share in parts)
    return plan.model_copy(update={"mixes": (old.model_copy(update=mix),)})


def told(plan: Plan, natural: int = 100, cognitive: int = 100, less: int = 0) -> Story:
    """Both conversations are made, save for the last few commands, and both sources are read."""
    story = Story(plan)
    for name in ("identity", "commands"):
        slots = all_slots(plan, name)
        for slot in slots[: len(slots) - (less if name == "commands" else 0)]:
            values = {"ask": "What?", "answer": f"{name} {slot.position}"}
            story.complete(plan.cohort(name), slot, values)
    story.ingest("natural", [chat(f"hello {n}", f"natural {n}") for n in range(natural)])
    story.ingest("map", [chat(f"where is {n}?", f"map {n}") for n in range(cognitive)])
    return story


def made(story: Story, plan: Plan, folder: Path, **options: Any) -> Dataset:
    """The dataset of a plan over a log with that story."""
    log = folder / "log.duckdb"
    if not log.exists():
        story.write(log)
    with Log(log) as opened:
        (dataset,) = materialize(plan, opened, folder, **options)
    return dataset


def read(dataset: Dataset) -> list[dict[str, Any]]:
    return rows(dataset.folder / "train.jsonl")


def by_source(dataset: Dataset) -> dict[str, int]:
    return dict(Counter(row["source"] for row in read(dataset)))


def test_what_was_generated_decides_how_many_rows_there_are(tmp_path: Path) -> None:
    plan = plan_of()
    dataset = made(told(plan), plan, tmp_path)
    assert by_source(dataset) == {"identity": 40, "commands": 30, "natural": 42, "map": 28}
    source = dataset.manifest["source"]
    assert (source["rows"], source["total"]) == (140, None)
    assert [(part["part"], part["share"], part["rows"]) for part in source["parts"]] == [
        ("synthetic", "50%", 70),
        ("natural", "30%", 42),
        ("cognitive", "20%", 28),
    ]
    assert [
        (place.get("conversation", place.get("source")), place["rows"])
        for part in source["parts"]
        for place in part["places"]
    ] == [("identity", 40), ("commands", 30), ("natural", 42), ("map", 28)]


def test_a_row_says_where_it_is_from_and_what_for(tmp_path: Path) -> None:
    plan = plan_of()
    dataset = made(told(plan), plan, tmp_path)
    first = {row["source"]: row for row in reversed(read(dataset))}
    assert first["commands"] == {
        "id": first["commands"]["id"],
        "messages": [
            {"role": "user", "content": "What?", "weight": 0},
            {"role": "assistant", "content": "commands 0", "weight": 1},
        ],
        "source": "commands",
        "tags": ["negative"],
    }
    assert first["natural"]["tags"] == []


def test_parts_and_places_are_spread_evenly(tmp_path: Path) -> None:
    plan = plan_of()
    found = [row["source"] for row in read(made(told(plan), plan, tmp_path))]
    for start in range(0, 140, 20):
        some = Counter(found[start : start + 20])
        assert abs(some["identity"] + some["commands"] - 10) <= 1
        assert abs(some["natural"] - 6) <= 1
        assert abs(some["map"] - 4) <= 1


def test_each_place_keeps_its_order(tmp_path: Path) -> None:
    plan = plan_of(total=60)
    found = read(made(told(plan), plan, tmp_path))
    for name in ("identity", "commands", "natural", "map"):
        numbers = [int(row["messages"][1]["content"].split()[1]) for row in found if row["source"] == name]
        assert numbers == sorted(numbers)
        assert len(set(numbers)) == len(numbers)


def test_a_larger_mix_has_the_rows_of_a_smaller_one(tmp_path: Path) -> None:
    story = told(plan_of())
    small, large = (
        {row["id"] for row in read(made(story, plan_of(total=total), tmp_path))} for total in (50, 100)
    )
    assert small < large


def test_which_rows_are_taken_follows_from_the_seed(tmp_path: Path) -> None:
    story = told(plan_of())
    plans = [plan_of(total=50), plan_of(total=50, name="other")]
    plans[1] = plans[1].model_copy(
        update={"exports": (plans[1].exports[0].model_copy(update={"source": "other"}),)}
    )
    found = [{row["id"] for row in read(made(story, plan, tmp_path))} for plan in plans]
    assert len(found[0]) == len(found[1]) == 50
    assert found[0] != found[1]


@settings(max_examples=30 if SOAK else 10, deadline=None)
@given(
    shares=st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any),
    total=st.none() | st.integers(0, 200),
    rule=st.sampled_from(["fail", "shrink", "repeat"]),
)
def test_counts_are_exact_and_no_row_is_there_twice_unless_repeated(
    tmp_path_factory: pytest.TempPathFactory, shares: list[int], total: int | None, rule: str
) -> None:
    folder = tmp_path_factory.mktemp("mix")
    plan = plan_of(shares=shares, total=total, when_short=rule)
    available = (70, 50, 20)
    try:
        dataset = made(told(plan, natural=50, cognitive=20), plan, folder)
    except QuotaShort:
        assert rule == "fail"
        wanted = largest_remainder(shares, total) if total is not None else None
        assert wanted is None or any(w > have for w, have in zip(wanted, available, strict=True))
        return
    found = read(dataset)
    parts = [part["rows"] for part in dataset.manifest["source"]["parts"]]
    assert parts == list(largest_remainder(shares, len(found)))
    if total is not None and rule != "shrink":
        assert len(found) == total
    assert len({row["id"] for row in found}) == len(found)
    names = Counter((row["source"], row["messages"][1]["content"]) for row in found)
    if rule != "repeat":
        assert all(n == 1 for n in names.values())
    for part, have, sources in zip(
        parts, available, (("identity", "commands"), ("natural",), ("map",)), strict=True
    ):
        again = Counter(n for (source, _), n in names.items() if source in sources)
        # Every row of a place as often as any other, give or take one.
        assert all(n in (Fraction(part, have).__floor__(), -(-part // have)) for n in again)


def test_rows_repeat_as_a_whole_before_any_comes_once_more(tmp_path: Path) -> None:
    plan = plan_of(total=200, when_short="repeat")
    story = told(plan, cognitive=15)
    dataset = made(story, plan, tmp_path)
    ids = [row["id"] for row in read(dataset) if row["source"] == "map"]
    assert len(ids) == 40
    first = ids[:15]
    assert ids[15:30] == [f"{name}-2" for name in first]
    assert len(ids[30:]) == 10
    assert [name for name in first if f"{name}-3" in ids] == [name.removesuffix("-3") for name in ids[30:]]


def test_copies_of_a_row_fall_on_its_side_of_a_split(tmp_path: Path) -> None:
    plan = plan_of(total=400, when_short="repeat")
    (export,) = plan.exports
    plan = plan.model_copy(update={"exports": (export.model_copy(update={"split": "60"}),)})
    dataset = made(told(plan), plan, tmp_path)
    sides = [
        {row["id"].split("-")[0] for row in rows(dataset.folder / f"{name}.jsonl")}
        for name in ("train", "eval")
    ]
    assert not sides[0] & sides[1]
    assert sum(dataset.rows.values()) == 400


def test_a_short_part_is_one_sentence_with_its_numbers(tmp_path: Path) -> None:
    plan = plan_of(total=200)
    with pytest.raises(QuotaShort) as caught:
        made(told(plan, natural=50, cognitive=10), plan, tmp_path)
    assert str(caught.value) == (
        "the mix `training` cannot be filled: `synthetic` needs 100 rows and has 70 "
        "(`identity` 40, `commands` 30); `natural` needs 60 rows and has 50; `cognitive` needs 40 rows "
        "and has 10: add rows, lower its total to 50, or say `when_short = shrink`"
    )
    assert not (tmp_path / "out").exists()


def test_a_short_source_is_an_error_without_a_total_too(tmp_path: Path) -> None:
    plan = plan_of()
    with pytest.raises(QuotaShort, match="`natural` needs 42 rows and has 41: add rows, lower its total to"):
        made(told(plan, natural=41), plan, tmp_path)


def test_shrinking_keeps_the_shares(tmp_path: Path) -> None:
    plan = plan_of(when_short="shrink")
    dataset = made(told(plan, natural=12), plan, tmp_path)
    assert [part["rows"] for part in dataset.manifest["source"]["parts"]] == [20, 12, 8]
    # What is there of the places of a part decides how many each gives.
    assert by_source(dataset) == {"identity": 11, "commands": 9, "natural": 12, "map": 8}


def test_a_source_without_rows_can_be_neither_repeated_nor_shrunk_away(tmp_path: Path) -> None:
    story = told(plan_of(), natural=0)
    with pytest.raises(
        QuotaShort, match=r"`natural` needs 42 rows and has 0: add rows, or take the part out"
    ):
        made(story, plan_of(when_short="repeat"), tmp_path)
    assert sum(made(story, plan_of(when_short="shrink"), tmp_path).rows.values()) == 0


def test_sources_alone_give_all_that_their_shares_allow(tmp_path: Path) -> None:
    parts = (
        MixPart(name="n", share=3, sources=("natural",)),
        MixPart(name="m", share=1, sources=("map",)),
    )
    plan = plan_of(parts=parts)
    assert by_source(made(told(plan, natural=60, cognitive=100), plan, tmp_path)) == {
        "natural": 60,
        "map": 20,
    }


def test_a_conversation_that_is_not_made_yet(tmp_path: Path) -> None:
    plan = plan_of()
    story = told(plan, less=10)
    with pytest.raises(QuotaShort) as caught:
        made(story, plan, tmp_path)
    assert str(caught.value) == (
        "`commands` has 20 of 30 samples: run it to the end, or take what is there with --partial"
    )
    dataset = made(story, plan, tmp_path, partial=True)
    assert by_source(dataset) == {"identity": 40, "commands": 20, "natural": 36, "map": 24}
    assert (dataset.missing, dataset.unit) == (10, "sample")
    smaller = made(story, plan_of(total=140), tmp_path, partial=True)
    assert sum(smaller.rows.values()) == 120
    # A source that is short is no less so.
    (tmp_path / "short").mkdir()
    short = told(plan, natural=5, less=10)
    with pytest.raises(QuotaShort, match="`natural` needs 30 rows and has 5"):
        made(short, plan_of(total=100), tmp_path / "short", partial=True)


def test_a_log_without_a_source_says_so(tmp_path: Path) -> None:
    plan = plan_of()
    story = Story(plan)
    for name in ("identity", "commands"):
        for slot in all_slots(plan, name):
            story.complete(plan.cohort(name), slot, {"ask": "What?", "answer": "That."})
    with pytest.raises(QuotaShort, match=r"no rows of the source `natural`.*`synth run` it first"):
        made(story, plan, tmp_path)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_same_bytes_whatever_the_threads(tmp_path: Path, form: str) -> None:
    plan = plan_of(total=90, when_short="repeat")
    (export,) = plan.exports
    update = {"format": form, "split": "80"}
    plan = plan.model_copy(update={"exports": (export.model_copy(update=update),)})
    story = told(plan, cognitive=5)
    found = []
    for threads in (1, 4, 4):
        folder = made(story, plan, tmp_path, threads=threads).folder
        found.append({p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())})
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {f"train.{form}", f"eval.{form}", "manifest.json", "README.md"}


def test_parquet_says_what_jsonl_says(tmp_path: Path) -> None:
    plan = plan_of()
    story = told(plan)
    as_json = read(made(story, plan, tmp_path))
    (export,) = plan.exports
    other = plan.model_copy(update={"exports": (export.model_copy(update={"format": "parquet"}),)})
    path = made(story, other, tmp_path).folder / "train.parquet"
    with duckdb.connect() as connection:
        result = connection.execute(f"SELECT * FROM '{path}'")
        names = [column[0] for column in result.description or []]
        assert [dict(zip(names, row, strict=True)) for row in result.fetchall()] == as_json


def test_verify_holds_a_mix_to_its_log(tmp_path: Path) -> None:
    plan = plan_of()
    dataset = made(told(plan), plan, tmp_path)
    with Log(tmp_path / "log.duckdb") as log:
        manifest = read_manifest(dataset.folder)
        verify_files(dataset.folder, manifest)
        verify_against_log(dataset.folder, manifest, log)
        manifest["source"]["parts"][1]["places"][0]["rows"] -= 1
        with pytest.raises(Diverged, match="its `source` is not what"):
            verify_against_log(dataset.folder, manifest, log)


def test_a_changed_mix_needs_no_run(tmp_path: Path) -> None:
    story = told(plan_of())
    before = made(story, plan_of(), tmp_path)
    after = made(story, plan_of(shares=[1, 1, 1]), tmp_path)
    assert before.manifest["log"] == after.manifest["log"]
    assert [part["rows"] for part in after.manifest["source"]["parts"]] == [70, 70, 70]


def test_the_card_tells_of_its_parts(tmp_path: Path) -> None:
    plan = plan_of()
    card = (made(told(plan), plan, tmp_path).folder / "README.md").read_text()
    assert "140 rows of `messages`, 140 conversations mixed as `training`." in card
    assert "| synthetic | 50% | `identity` | 40 | 40 |" in card
    assert "| natural | 30% | `natural` | 42 | 100 |" in card
    assert "| identity.subject | law | 20 |" in card
    assert "| identity.answer | base | simulated:nobody | simulated | 40 |" in card


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_datasets_loads_a_mix_by_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    plan = plan_of()
    dataset = made(told(plan), plan, tmp_path)
    loaded: Any = load_dataset(str(dataset.folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == read(dataset)
    assert loaded["train"].features["tags"].feature.dtype == "string"


def test_a_mix_takes_other_forms(tmp_path: Path) -> None:
    plan = plan_of(total=40)
    story = told(plan)
    (export,) = plan.exports
    for form in ("prompt_completion", "sharegpt"):
        other = plan.model_copy(update={"exports": (export.model_copy(update={"type": form}),)})
        found = read(made(story, other, tmp_path))
        assert len(found) == 40
        assert {tuple(row) for row in found} == {
            ("id", "prompt", "completion", "source", "tags")
            if form == "prompt_completion"
            else ("id", "conversations", "source", "tags")
        }
