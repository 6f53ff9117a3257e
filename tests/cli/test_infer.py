"""`synth infer`: what it prints compiles, and reads the file that it is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.compiler.compile import compile_text
from tests.kit.support import one_sentence, synth
from tests.sources.helpers import ingest, write_csv, write_lines, write_parquet


def inferred(folder: Path, file: str, *options: str) -> str:
    result = synth("infer", file, *options, cwd=folder)
    assert result.status == 0, result.err
    text = f"edition 1\n\nrecipe example {{ seed = 1 }}\n\n{result.out}"
    plan = compile_text(text).plan.below(folder)
    assert next(iter(ingest(plan, folder / f"{file}.duckdb").values())).left_out == {}
    return result.out


def ticket(number: int) -> dict[str, Any]:
    row = {
        "id": f"t{number}",
        "body": f"What is {number}?",
        "category": ["billing", "other"][number % 2],
        "stars": number % 5,
        "price": number / 2,
        "open": number % 3 == 0,
        "tags": ["a"] if number % 2 else [],
        "author": {"name": "Ana", "age": None if number % 2 else 3},
        "two words": 1,
        "mixed": 1 if number % 2 else "x",
        "none": None,
    }
    return row if number else {**row, "stars": None}


TICKETS = """schema Author {
  name: text
  age: count?
}

schema Ticket {
  id: text
  body: text
  category: enum<billing, other>
  stars: count?
  price: number
  open: boolean
  tags: list<text>
  author: Author
  # `two words` is no name of the language: it stays with the row.
  # `mixed` holds number and text (6 of 12 are text, such as `x`): it stays with the row.
  # `none` holds nothing: it stays with the row.
}

source tickets: Ticket from jsonl("tickets.jsonl", id = "id")
"""


def test_the_schema_of_json_lines(tmp_path: Path) -> None:
    write_lines(tmp_path / "tickets.jsonl", [ticket(n) for n in range(12)])
    assert inferred(tmp_path, "tickets.jsonl") == TICKETS


def test_the_schema_of_other_files(tmp_path: Path) -> None:
    rows = [{"order_id": n, "when": "x" * n, "n": n - 1, "text": "true"} for n in range(1, 4)]
    (tmp_path / "data.json").write_text(json.dumps({"rows": rows}))
    write_csv(
        tmp_path / "data.csv",
        ["code", "n", "on", "list"],
        [["007", "1", "true", "[1]"], ["x", "", "false", "[]"]],
    )
    write_parquet(tmp_path / "2024.parquet", [{"a": 1.0, "b": "2024-01-01"}], "a DOUBLE, b DATE")
    found = inferred(tmp_path, "data.json")
    assert found == (
        "schema Data {\n  order_id: count\n  when: text\n  n: count\n  text: text\n}\n\n"
        'source data: Data from json("data.json", id = "order_id")\n'
    )
    assert inferred(tmp_path, "data.csv") == (
        "schema Data {\n  code: text\n  n: count?\n  on: boolean\n  list: list<count>\n}\n\n"
        'source data: Data from csv("data.csv")\n'
    )
    assert inferred(tmp_path, "2024.parquet") == (
        "schema Row {\n  a: count\n  b: text\n  # `b` holds days, which are text here.\n}\n\n"
        'source rows: Row from parquet("2024.parquet")\n'
    )


def test_why_a_column_is_not_what_it_seems(tmp_path: Path) -> None:
    header = ["id", "row_id", "price", "day", "share", "stars", "note"]
    made = [[f"t{n}", "a" if n < 2 else f"r{n}", n / 2, "2024-01-02", "5%", n, "x"] for n in range(40)]
    made[3][2], made[4][2], made[7][5] = "n/a", "$5", ""
    write_csv(tmp_path / "sold.csv", header, [[str(each) for each in row] for row in made])
    assert inferred(tmp_path, "sold.csv") == (
        "schema Sold {\n  id: text\n  row_id: text\n"
        "  # `row_id` names no rows: `a` is there more than once.\n"
        "  price: text\n  # `price` is text: 2 of 40 values are no numbers, such as `n/a`.\n"
        "  day: text\n  # `day` holds days, which are text here.\n"
        "  share: text\n  # `share` may be a `ratio`, if all of it is percentages.\n"
        "  stars: count?\n  # `stars` has a `?` for 1 row of 40 without a value.\n  note: text\n}\n\n"
        'source sold: Sold from csv("sold.csv", id = "id")\n'
    )


def test_what_comes_next_is_said_beside(tmp_path: Path) -> None:
    write_lines(tmp_path / "tickets.jsonl", [ticket(n) for n in range(12)])
    said = synth("infer", "tickets.jsonl", cwd=tmp_path).err
    assert "say `conversation made over row in tickets { ... }`" in said
    assert "synth init DIR --from tickets" in said
    write_lines(tmp_path / "chats.jsonl", [{"prompt": "Hi", "response": "Yes"}])
    assert "synth init DIR --from distill" in synth("infer", "chats.jsonl", cwd=tmp_path).err


def test_conversations_are_messages(tmp_path: Path) -> None:
    write_lines(tmp_path / "chats.jsonl", [{"prompt": "Hi", "response": "Yes"}])
    assert inferred(tmp_path, "chats.jsonl") == 'source chats: messages from jsonl("chats.jsonl")\n'
    assert "schema Chat {\n  prompt: text\n  response: text\n}" in inferred(tmp_path, "chats.jsonl", "--rows")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.jsonl", None, "there is no file `gone.jsonl`"),
        ("a.txt", "x", "a.txt is of no kind that rows are read from"),
        ("bad.jsonl", "{\n", "is JSON spread over lines"),
        ("none.csv", "a,b\n", "none.csv has no rows that can be read"),
        ("empty.csv", "", "empty.csv is empty"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert said in one_sentence(synth("infer", name, cwd=tmp_path), 1)


def test_definitions_of_tools_stay_with_the_row(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]
    row = {"messages": messages, "tools": [{"type": "function", "function": {"name": "look"}}]}
    write_lines(tmp_path / "chats.jsonl", [row])
    assert inferred(tmp_path, "chats.jsonl", "--rows") == (
        "schema Chat {\n  messages: messages\n"
        "  # `tools` defines the tools of the messages: it stays with the row.\n}\n\n"
        'source chats: Chat from jsonl("chats.jsonl")\n'
    )
