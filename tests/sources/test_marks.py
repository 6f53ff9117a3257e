"""What rows say of themselves, from the file to the dataset: marks, thoughts, and what is not read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import synth
from synth.base.canonical import digest
from synth.base.errors import ConfigError
from synth.compiler.plan.model import Plan
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from tests.kit.support import query, rows
from tests.kit.support import synth as run_command
from tests.sources.helpers import (
    ingest,
    logged,
    plan_for,
    read_back,
    refusal,
    turns,
    write_lines,
    write_parquet,
)

RECIPE = """edition 1

recipe example { seed = 1 }

source natural: messages from READER

mix training { natural 100% from natural }

export train: messages from training to "out/train" { thought = keep }
export wrapped: messages from training to "out/wrapped" { thought = wrap }
export stripped: messages from training to "out/stripped"
export targets: prompt_completion from training to "out/targets"
"""


def project(folder: Path, lines: list[Any], reader: str = 'jsonl("chat.jsonl")') -> Path:
    write_lines(folder / "chat.jsonl", lines)
    path = folder / "example.recipe"
    path.write_text(RECIPE.replace("READER", reader), "utf-8")
    return path


def exported(folder: Path, lines: list[Any], reader: str = 'jsonl("chat.jsonl")') -> Path:
    """The folder of datasets that a run over some rows and materializing give."""
    plan = synth.compile(project(folder, lines, reader))
    log = folder / "synth.duckdb"
    synth.run(plan, log=log)
    synth.materialize(plan, log=log, out=folder)
    return folder / "out"


def weights(out: Path) -> list[list[int]]:
    return [[message["weight"] for message in row["messages"]] for row in rows(out / "train/train.jsonl")]


def said(**marks: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", **marks},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    return {"messages": messages}


TRAINED: list[Any] = [True, 1, 1.0, "1", "true", "True", " yes ", "1.0"]
LEFT: list[Any] = [False, 0, 0.0, "0", "false", "no", "off"]
NAMES = ("weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask")


def test_marks_come_out_as_weights(tmp_path: Path) -> None:
    marks: list[tuple[dict[str, Any], int]] = []
    for name in NAMES:
        marks += [({name: value}, 1) for value in TRAINED] + [({name: value}, 0) for value in LEFT]
    for name in ("masked", "mask"):
        marks += [({name: value}, 0) for value in TRAINED] + [({name: value}, 1) for value in LEFT]
    marks += [({"train": None, "mask": ""}, 1), ({"train": False, "masked": True, "weight": 0}, 0)]
    out = exported(tmp_path, [said(**mark) for mark, _ in marks])
    assert weights(out) == [[0, weight, 0, 1] for _, weight in marks]
    # One row of prompt and completion for each turn that is trained on.
    assert len(rows(out / "targets/train.jsonl")) == sum(1 + weight for _, weight in marks)


def test_marks_in_a_table(tmp_path: Path) -> None:
    types = "messages STRUCT(role VARCHAR, content VARCHAR, train BOOLEAN, loss DOUBLE)[]"
    told = [("user", "a", None, None), ("assistant", "b", False, None), ("assistant", "c", None, 1.0)]
    fields = ("role", "content", "train", "loss")
    write_parquet(
        tmp_path / "chat.parquet",
        [{"messages": [dict(zip(fields, each, strict=True)) for each in told]}],
        types,
    )
    ((_, left, trained),) = read_back(tmp_path, 'parquet("chat.parquet")')
    assert (left["weight"], trained["weight"]) == (0, 1)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({"weight": float("nan")}, "has a `weight` other than 0 and 1, line 1 (message 2: `nan`)"),
        ({"loss": 2.31}, "has a `loss` other than 0 and 1, line 1 (message 2: `2.31`)"),
        ({"train": "maybe"}, "has a `train` other than 0 and 1, line 1 (message 2: `maybe`)"),
        ({"mask": [1]}, "has a `mask` other than 0 and 1, line 1 (message 2: a list)"),
        (
            {"train": True, "masked": True},
            "has marks that contradict each other, line 1 (message 2: `train`, `masked`)",
        ),
    ],
)
def test_marks_that_say_nothing_clear(marks: dict[str, Any], expected: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [said(**marks)])
    assert f"chat.jsonl: 1 of 1 line {expected}" in refusal(tmp_path, 'jsonl("chat.jsonl")')


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": content, **more}]
    }


THOUGHT = "two and two"
THINKING: list[dict[str, Any]] = [
    answer("4.", reasoning_content=THOUGHT),
    answer("4.", reasoning=THOUGHT),
    answer("4.", thinking=THOUGHT),
    answer("4.", thought=THOUGHT),
    # As some servers say it twice.
    answer("4.", reasoning_content=THOUGHT, reasoning=f" {THOUGHT}\n"),
    answer("4.", reasoning={"summary": [{"type": "summary_text", "text": THOUGHT}]}),
    answer("4.", reasoning_details=[{"type": "reasoning.text", "text": THOUGHT}]),
    answer(f"<think>{THOUGHT}</think>\n\n4."),
    answer(f"<think>\n{THOUGHT}\n</think>4.", reasoning_content=THOUGHT),
    answer(f"{THOUGHT}\n</think>\n\n4."),
    answer([{"type": "thinking", "thinking": THOUGHT, "signature": "x"}, {"type": "text", "text": "4."}]),
    answer([{"text": THOUGHT, "thought": True}, {"text": "4."}]),
    {
        "conversations": [
            {"from": "human", "value": "2+2?"},
            {"from": "gpt", "value": f"<think>{THOUGHT}</think>4."},
        ]
    },
]
PAIRS: list[dict[str, Any]] = [
    {"prompt": "2+2?", "response": f"<think>{THOUGHT}</think>4."},
    {"prompt": "2+2?", "response": "4.", "reasoning": THOUGHT},
]


@pytest.mark.parametrize("row", [*THINKING, *PAIRS], ids=range(len(THINKING) + len(PAIRS)))
def test_reasoning_is_a_thought(row: dict[str, Any], tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [row])
    asked = {"role": "user", "content": "2+2?"}
    thought = {"role": "model", "content": "4.", "thought": THOUGHT}
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [[asked, thought]]


def test_thinking_that_holds_nothing_is_no_part_of_what_is_said(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [answer("<think>\n\n</think>\n\n4.")])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [turns("2+2?", "4.")]


def test_thoughts_are_exported_as_the_export_says(tmp_path: Path) -> None:
    out = exported(
        tmp_path, [answer("4.", reasoning_content=THOUGHT), answer(f"<think>{THOUGHT}</think>\n\n4.")]
    )
    kept = [row["messages"][1] for row in rows(out / "train/train.jsonl")]
    assert kept == 2 * [{"role": "assistant", "content": "4.", "weight": 1, "thought": THOUGHT}]
    wrapped = [row["messages"][1]["content"] for row in rows(out / "wrapped/train.jsonl")]
    assert wrapped == 2 * [f"<think>{THOUGHT}</think>\n\n4."]
    stripped = [row["messages"][1] for row in rows(out / "stripped/train.jsonl")]
    assert stripped == 2 * [{"role": "assistant", "content": "4.", "weight": 1}]


def test_what_is_no_thinking_is_left_alone(tmp_path: Path) -> None:
    """A user's text, and an answer that speaks of the tags."""
    spoken = "Put it between `<think>` and `</think>`."
    written = [
        {"role": "user", "content": "<think>what do you</think> mean?"},
        {"role": "assistant", "content": spoken},
    ]
    write_lines(tmp_path / "chat.jsonl", [{"messages": written}])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [turns(written[0]["content"], spoken)]


def test_an_answer_that_only_thinks_is_empty(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [answer("<think>two and"), answer(None, reasoning_content="x")])
    assert refusal(tmp_path, 'jsonl("chat.jsonl")').startswith(
        "chat.jsonl: 1 of 2 lines has an empty message, line 1 (message 2); 1 has a message without content"
    )


def test_a_named_column_of_thoughts(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [{"q": "2+2?", "why": THOUGHT, "a": "4."}])
    reader = 'jsonl("chat.jsonl", prompt = "q", response = "a", thought = "why")'
    ((_, found),) = read_back(tmp_path, reader)
    assert found["thought"] == THOUGHT


BAD = [
    *({"messages": turns(f"Q{i}?", f"A{i}.")} for i in range(4)),
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "  "}]},
    '{"messages": [',
    {"messages": [{"role": "user", "content": "w"}, {"role": "tool", "name": "w", "content": "5C"}]},
    {"prompt": "another", "response": "shape"},
]
SKIP = 'jsonl("chat.jsonl") { bad_rows = skip }'


def test_bad_rows_are_left_out_and_named(tmp_path: Path) -> None:
    project(tmp_path, BAD, SKIP)
    shown = run_command("run", "example.recipe", cwd=tmp_path)
    assert shown.status == 0, shown.err
    for line in (
        "source natural: 4 rows, 4 new",
        "left out: 4 rows",
        "chat.jsonl:5 has an empty message (message 2)",
        "chat.jsonl:6 is not JSON (Expecting value at column 15)",
        "chat.jsonl:7 has a result of a tool without a call (message 2)",
        "and 1 more",
    ):
        assert line in shown.out
    # It is told again from the log, of which nothing is read twice.
    again = run_command("run", "example.recipe", "--json", cwd=tmp_path).json()["sources"]["natural"]
    assert (again["rows"], again["new"], again["left_out"]["rows"]) == (4, 0, 4)
    assert again["left_out"]["first"][3] == {
        "file": "chat.jsonl",
        "line": 8,
        "reason": "has another shape than most rows (with `prompt`, `response`)",
    }
    log = tmp_path / "synth.duckdb"
    ((payload,),) = query(log, "SELECT payload FROM events WHERE kind = 'source.completed'")
    assert json.loads(payload)["left_out"] == again["left_out"]
    plan = synth.compile(tmp_path / "example.recipe")
    synth.materialize(plan, log=log, out=tmp_path)
    assert len(rows(tmp_path / "out/train/train.jsonl")) == 4
    card = (tmp_path / "out/train/README.md").read_text("utf-8")
    assert "left out, since they are no conversations: 4 rows" in card
    assert "chat.jsonl:5 has an empty message (message 2)" in card


def test_bad_rows_fail_unless_they_may_not(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", BAD)
    assert refusal(tmp_path, 'jsonl("chat.jsonl")').endswith("mend or remove them, or say `bad_rows = skip`")
    write_lines(tmp_path / "chat.jsonl", BAD[4:6])
    sentence = refusal(tmp_path, SKIP)
    assert sentence.startswith("chat.jsonl: 1 of 2 lines has an empty message")
    assert sentence.endswith("mend or remove them")


def test_whether_rows_are_left_out_is_part_of_how_a_source_is_read(tmp_path: Path) -> None:
    """What was read without its bad rows is not taken for a source that may not have any."""
    write_lines(tmp_path / "chat.jsonl", BAD)
    log = tmp_path / "log.duckdb"
    ingest(plan_for(tmp_path, SKIP), log)
    with pytest.raises(ConfigError):
        ingest(plan_for(tmp_path, 'jsonl("chat.jsonl")'), log)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "nothing": None,
        "score\u202e\ud800": 0.5,
        "messages": [
            {"role": "user", "content": "a", "name": "Sami", "thought": "x", "train": True},
            {"role": "assistant", "content": "b", "logprobs": [1], "tool_calls": []},
        ],
    }
    project(tmp_path, [json.dumps(row), json.dumps(row | {"score\u202e\ud800": None})])
    found = run_command("run", "example.recipe", "--json", cwd=tmp_path).json()["sources"]["natural"]
    assert found["unread"] == {
        "rows": {"id": 2, "score<U+202E><U+D800>": 1},
        "messages": {"name": 2, "logprobs": 2, "thought of a user": 2, "mark to train on a user": 2},
    }
    shown = run_command("run", "example.recipe", cwd=tmp_path).out
    assert "not read: `id` (2 rows), `score<U+202E><U+D800>` (1 row), " in shown
    plan = synth.compile(tmp_path / "example.recipe")
    synth.materialize(plan, log=tmp_path / "synth.duckdb", out=tmp_path)
    assert "not read: `id` (2 rows)" in (tmp_path / "out/train/README.md").read_text("utf-8")


def test_columns_that_a_table_has_besides(tmp_path: Path) -> None:
    types = "question VARCHAR, answer VARCHAR, level INTEGER"
    table: list[dict[str, Any]] = [
        {"question": "a", "answer": "b", "level": 3},
        {"question": "c", "answer": "d", "level": None},
    ]
    write_parquet(tmp_path / "chat.parquet", table, types)
    plan = plan_for(tmp_path, 'parquet("chat.parquet")')
    assert ingest(plan, tmp_path / "log.duckdb")["natural"].unread == {"rows": {"level": 2}}


def test_keys_of_which_every_row_has_its_own(tmp_path: Path) -> None:
    lines = [{"prompt": "a", "response": "b", f"k{i}": 1} for i in range(2_000)]
    write_lines(tmp_path / "chat.jsonl", lines)
    found = ingest(plan_for(tmp_path, 'jsonl("chat.jsonl")'), tmp_path / "log.duckdb")["natural"].unread
    assert found["rows"]["(others)"] == 1_800


def as_before(plan: Plan, path: Path, messages: list[dict[str, Any]], log: Path) -> None:
    """A log with a file's one row as the first version of the reader left it."""
    reader = digest([plan.recipe, plan.sources[0].reader.model_dump(mode="json", exclude={"source"})])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    version = {"source": "natural", "version": digest([1, reader, [[path.name, sha256]]])}
    row = {"row": 0, "file": path.name, "line": 1, "hash": digest(messages), "messages": messages}
    files = [{"path": path.name, "bytes": path.stat().st_size, "sha256": sha256}]
    whole = {"reader": reader, "rows": 1, "shape": "messages", "files": files}
    name = digest(["natural", digest(messages), 0])[:16]
    with Log(log, writer=True) as opened:
        opened.append(
            [
                Event(0, Kind.SOURCE_INGESTED, "run", 0, {**version, **row}, sample_id=name),
                Event(1, Kind.SOURCE_COMPLETED, "run", 0, {**version, **whole}),
            ]
        )


@pytest.mark.parametrize(("mark", "new"), [({"weight": 0}, 0), ({"train": False}, 1)])
def test_what_an_older_version_read(mark: dict[str, Any], new: int, tmp_path: Path) -> None:
    """Its rows are what datasets are made of.  A run looks once whether they say more than it saw."""
    path = write_lines(tmp_path / "chat.jsonl", [said(**mark)])
    plan, log = plan_for(tmp_path, 'jsonl("chat.jsonl")'), tmp_path / "log.duckdb"
    before = turns("a", "b", "c", "d")
    before[1] |= {"weight": 0} if "weight" in mark else {}
    as_before(plan, path, before, log)
    assert [payload["messages"] for _, payload in logged(plan, log)] == [before]
    assert ingest(plan, log)["natural"].new == new
    ((row, payload),) = logged(plan, log)
    assert payload["messages"][1]["weight"] == 0
    assert (row == digest(["natural", digest(before), 0])[:16]) == (not new)
    events = len(query(log, "SELECT seq FROM events"))
    assert ingest(plan, log)["natural"].new == 0
    assert len(query(log, "SELECT seq FROM events")) == events == 3 + new


@pytest.mark.parametrize("form", ["jsonl", "parquet", "named"])
def test_marks_of_a_row_are_those_of_its_answer(form: str, tmp_path: Path) -> None:
    marks: list[tuple[dict[str, Any], int]] = [
        ({"train": False}, 0),
        ({"train": True}, 1),
        ({"train": None}, 1),
    ]
    lines = [{"prompt": f"a{n}", "response": f"b{n}", **mark} for n, (mark, _) in enumerate(marks)]
    if form == "parquet":
        write_parquet(tmp_path / "chat.parquet", lines, "prompt VARCHAR, response VARCHAR, train BOOLEAN")
        out = exported(tmp_path, lines, 'parquet("chat.parquet")')
    elif form == "named":
        renamed = [{"q": row["prompt"], "a": row["response"], "train": row["train"]} for row in lines]
        out = exported(tmp_path, renamed, 'jsonl("chat.jsonl", prompt = "q", response = "a")')
    else:
        out = exported(tmp_path, lines)
    assert weights(out) == [[0, weight] for _, weight in marks]
    assert [row["prompt"][0]["content"] for row in rows(out / "targets/train.jsonl")] == ["a1", "a2"]


def notes(folder: Path) -> list[dict[str, Any]]:
    found = query(folder / "synth.duckdb", "SELECT payload FROM events WHERE kind = 'source.completed'")
    return [json.loads(payload) for (payload,) in found]


def refused(folder: Path, row: dict[str, Any]) -> str:
    write_lines(folder / "chat.jsonl", [row])
    return refusal(folder, 'jsonl("chat.jsonl")')


def test_a_row_of_messages_is_marked_where_its_messages_are_not(tmp_path: Path) -> None:
    out = exported(
        tmp_path, [{**said(weight=1), "weight": 0}, {**said(), "masked": True}, {**said(), "loss": 2.31}]
    )
    assert weights(out) == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]
    (note,) = notes(tmp_path)
    assert note["unread"] == {"rows": {"loss": 1}}, "a figure is no mark"


def test_marks_of_a_row_that_contradict_each_other_are_a_fault(tmp_path: Path) -> None:
    row = {"prompt": "a", "response": "b", "train": True, "mask": True}
    assert "has marks that contradict each other, line 1 (on the row: `mask`, `train`)" in refused(
        tmp_path, row
    )
    row = {"prompt": "a", "response": "b", "weight": float("nan")}
    assert "has a `weight` other than 0 and 1, line 1 (it is nan)" in refused(tmp_path, row)


def test_what_is_left_out_of_a_row_is_said(tmp_path: Path) -> None:
    """A second system text, and thinking that only the service that thought it can read."""
    row = said(content=[{"type": "redacted_thinking", "data": "Zm9v"}, {"type": "text", "text": "b"}])
    row["messages"].insert(0, {"role": "system", "content": "Be terse."})
    exported(tmp_path, [{**row, "system": "Be kind."}, {**row, "system": " Be terse. "}])
    (note,) = notes(tmp_path)
    assert note["unread"] == {"rows": {"system": 1}, "messages": {"redacted_thinking": 2}}
