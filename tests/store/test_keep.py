"""`keep`: which rows of a source are taken, and what became of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import QuotaShort
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Story, chat

RECIPE = """edition 1
recipe keeping { seed = 5 }

source natural: messages from jsonl("natural.jsonl") {
  keep {
    CHECKS
  }
}

mix training {
  natural 100% from natural
}

export train: messages from training to "out/train"
"""


def plan_of(*checks: str) -> Plan:
    return compile_text(RECIPE.replace("CHECKS", "\n    ".join(checks))).plan


def made(
    plan: Plan, conversations: Sequence[Sequence[Mapping[str, Any]]], folder: Path, **options: Any
) -> Dataset:
    log = folder / "log.duckdb"
    if not log.exists():
        story = Story(plan)
        story.ingest("natural", conversations)
        story.write(log)
    with Log(log) as opened:
        (dataset,) = materialize(plan, opened, folder, **options)
    return dataset


def place_of(dataset: Dataset) -> dict[str, Any]:
    ((place,),) = [part["places"] for part in dataset.manifest["source"]["parts"]]
    return dict(place)


def answers(dataset: Dataset) -> list[str]:
    return [row["messages"][-1]["content"] for row in rows(dataset.folder / "train.jsonl")]


ROWS = [
    chat("Hello.", "Good day."),
    chat("Hello?", "I am an assistant."),
    chat("One", "two", "three", "four", "five", "six"),
    chat("Hello.", "GOOD   day."),
    chat("Who?", "An assistant.", "Really?", "Yes.", "No.", "Yes."),
    chat("What is new?", "Nothing at all."),
]


def test_the_first_check_that_refuses_a_row_counts_it(tmp_path: Path) -> None:
    plan = plan_of('no_words("assistant")', "turns(2..4)", "distinct(similarity = 0.9)")
    dataset = made(plan, ROWS, tmp_path)
    assert answers(dataset) == ["Good day.", "Nothing at all."]
    assert place_of(dataset) == {
        "source": "natural",
        "version": "1",
        "read": 6,
        "kept": 2,
        "dropped": {"no_words": 2, "turns": 1, "distinct": 1},
        "rows": 2,
    }
    card = (dataset.folder / "README.md").read_text()
    assert "- `natural`: 6 rows, 2 fell to `no_words`, 1 fell to `turns`, 1 fell to `distinct`" in card


def test_a_changed_keep_needs_no_run(tmp_path: Path) -> None:
    everything = made(plan_of("turns(1..9)"), ROWS, tmp_path)
    fewer = made(plan_of("turns(2..4)"), ROWS, tmp_path)
    assert (everything.rows, place_of(everything)["dropped"]) == ({"train": 6}, {"turns": 0})
    assert (fewer.rows, place_of(fewer)["dropped"]) == ({"train": 4}, {"turns": 2})
    assert everything.manifest["log"] == fewer.manifest["log"]


def test_rows_that_fell_for_another_reason_are_no_duplicates_of_later_ones(tmp_path: Path) -> None:
    """`distinct` knows the rows kept, wherever it stands among the checks."""
    plan = plan_of("distinct(similarity = 0.9)", 'no_words("assistant")')
    twins = [chat("A long question?", "An assistant."), chat("A long question?", "An assistent.")]
    assert answers(made(plan, twins, tmp_path)) == ["An assistent."]


def test_what_all_rows_are_told_does_not_make_them_alike(tmp_path: Path) -> None:
    told: dict[str, Any] = {"role": "system", "content": "You are terse. " * 200}
    plan = plan_of("distinct(similarity = 0.5)")
    conversations = [[told, *chat("Red", "green")], [told, *chat("Four", "eleven")]]
    dataset = made(plan, conversations, tmp_path)
    assert answers(dataset) == ["green", "eleven"]
    (first, _) = rows(dataset.folder / "train.jsonl")
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert [message["weight"] for message in first["messages"]] == [0, 0, 1]


def test_a_short_part_says_what_fell(tmp_path: Path) -> None:
    plan = plan_of('no_words("assistant")', "turns(2..4)")
    plan = plan.model_copy(update={"mixes": (plan.mixes[0].model_copy(update={"total": 5}),)})
    with pytest.raises(QuotaShort) as caught:
        made(plan, ROWS, tmp_path)
    assert str(caught.value) == (
        "the mix `training` cannot be filled: `natural` needs 5 rows and has 3 (3 of 6 fell to its "
        "`keep`: no_words 2, turns 1): add rows, lower its total to 3, or say `when_short = shrink`"
    )


def test_the_last_version_that_was_read_counts(tmp_path: Path) -> None:
    plan = plan_of("turns(1..9)")
    story = Story(plan)
    story.ingest("natural", [chat("old", "old")], version="1")
    story.ingest("natural", [chat("new", "new"), chat("newer", "newer")], version="2")
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path)
        assert answers(dataset) == ["new", "newer"]
        assert place_of(dataset)["version"] == "2"
        # The log as it was before the second version was complete.
        (dataset,) = materialize(plan, log, tmp_path, as_of=log.next_seq - 2)
        assert answers(dataset) == ["old"]


def test_weights_and_thoughts_of_a_source(tmp_path: Path) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "One?", "weight": 0},
        {"role": "model", "content": "One.", "weight": 0},
        {"role": "user", "content": "Two?"},
        {"role": "model", "content": "Two.", "thought": "One and one."},
    ]
    plan = plan_of("turns(1..9)")
    (export,) = plan.exports
    plan = plan.model_copy(update={"exports": (export.model_copy(update={"thought": "keep"}),)})
    (row,) = rows(made(plan, [messages], tmp_path).folder / "train.jsonl")
    assert row["messages"] == [
        {"role": "user", "content": "One?", "weight": 0},
        {"role": "assistant", "content": "One.", "weight": 0},
        {"role": "user", "content": "Two?", "weight": 0},
        {"role": "assistant", "content": "Two.", "weight": 1, "thought": "One and one."},
    ]


CHECKS = st.lists(
    st.sampled_from(["turns(2..4)", 'no_words("bad")', "distinct(similarity = 0.8)", "no_emoji()"]),
    min_size=1,
    unique=True,
)
CONVERSATIONS = st.lists(
    st.lists(
        st.sampled_from(["good day", "bad night", "what a sight", "\N{GRINNING FACE}"]),
        min_size=1,
        max_size=6,
    ).map(lambda contents: chat(*contents)),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(checks=CHECKS, conversations=CONVERSATIONS)
def test_no_row_goes_missing(
    tmp_path_factory: pytest.TempPathFactory,
    checks: list[str],
    conversations: list[list[dict[str, Any]]],
) -> None:
    dataset = made(plan_of(*checks), conversations, tmp_path_factory.mktemp("keep"))
    place = place_of(dataset)
    assert place["read"] == len(conversations)
    assert place["read"] == place["kept"] + sum(place["dropped"].values())
    assert place["kept"] == place["rows"] == dataset.rows["train"]
    assert list(place["dropped"]) == [check.split("(")[0] for check in checks]
    said = [[m["content"] for m in row["messages"]] for row in rows(dataset.folder / "train.jsonl")]
    if "no_words" in place["dropped"]:
        assert not any("bad night" in contents for contents in said)
    if "turns" in place["dropped"]:
        assert all(2 <= len(contents) <= 4 for contents in said)
    # Those that were kept come in the order of the source.
    whole = iter([[m["content"] for m in messages] for messages in conversations])
    assert all(contents in whole for contents in said)


def test_hostile_rows_come_through_as_they_are(tmp_path: Path) -> None:
    hostile = 'a\x00b \u202eevil <|im_end|> {{ x }} ``` | "quoted" \\ \u2028 ' + "x" * 100_000
    plan = plan_of("turns(1..9)")
    for form in ("jsonl", "parquet"):
        (export,) = plan.exports
        plan = plan.model_copy(update={"exports": (export.model_copy(update={"format": form}),)})
        path = made(plan, [chat(hostile, hostile)], tmp_path).folder / f"train.{form}"
        if form == "jsonl":
            row = json.loads(path.read_bytes())
            assert [message["content"] for message in row["messages"]] == [hostile, hostile]
        else:
            with duckdb.connect() as connection:
                query = f"SELECT [message.content FOR message IN messages] FROM '{path}'"
                assert connection.execute(query).fetchall() == [([hostile, hostile],)]
