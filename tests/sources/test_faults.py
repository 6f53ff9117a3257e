"""What cannot be read is refused in one sentence that counts it, and nothing of it is logged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.helpers import pair, refusal, repair, write_lines, write_parquet

GOOD = pair()
ASK = {"role": "user", "content": "a"}
TELL = {"role": "model", "content": "b"}


def said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


NAME_THEM = "name the columns, with `prompt` and `response` or with `messages`"

LINES: dict[str, tuple[list[Any], str]] = {
    "broken": (
        [GOOD, '{"prompt": "x", "response": }', GOOD],
        "1 of 3 lines is not JSON, line 2 (Expecting value at column 29): mend or remove it",
    ),
    "broken, several": (
        [GOOD, '{"a"', "}{", GOOD, "nonsense"],
        "3 of 5 lines are not JSON, the first is line 2 (Expecting ':' delimiter at column 5): mend or "
        "remove them",
    ),
    "blank lines are no rows": (
        ["", GOOD, "   ", "7"],
        "1 of 2 lines is no object, line 4 (it is a number): mend or remove it",
    ),
    "no object": (
        [GOOD, '"text"', "null", "[1]"],
        "3 of 4 lines are no object, the first is line 2 (it is text): mend or remove them",
    ),
    "too deep": (
        [GOOD, "[" * 100_000],
        "1 of 2 lines is not JSON, line 2 (it holds what is too long or too deep to be read): mend or "
        "remove it",
    ),
    "a number of too many digits": (
        [GOOD, '{"a": ' + "1" * 5000 + "}"],
        "1 of 2 lines is not JSON, line 2 (it holds what is too long or too deep to be read): mend or "
        "remove it",
    ),
    "several kinds": (
        [
            said(ASK, {"role": "model", "content": " \n"}),
            said(ASK, {"role": "model"}),
            said(ASK),
            said(),
            "7",
        ],
        "1 of 5 lines has an empty message, line 1 (message 2); 1 has a message without content, line 2 "
        "(message 2); 1 has no message of a model, line 3; 2 more have other faults: mend or remove them",
    ),
    "no known columns": (
        [{"frage": "x", "antwort": "y"}],
        "1 of 1 line has no conversation that is recognised, line 1 (its columns are `frage`, `antwort`): "
        + NAME_THEM,
    ),
    "a misspelt column": (
        [GOOD, {"prompt": "x", "respons": "y"}, {}],
        "2 of 3 lines have no conversation that is recognised, the first is line 2 (its columns are "
        "`prompt`, "
        "`respons`; is `respons` meant to be `response`?): " + NAME_THEM,
    ),
    "hostile names of columns": (
        [{"\u202e{{x}}\0": 1, "a" * 500: 2, **{f"c{i}": i for i in range(20)}}],
        "1 of 1 line has no conversation that is recognised, line 1 (its columns are `<U+202E>{{x}}␀`, "
        f"`{'a' * 40}`, `c0`, `c1`, `c2`, `c3`, `c4`, `c5` and 14 more): {NAME_THEM}",
    ),
    "an unknown role": (
        [
            said(ASK, TELL),
            said({"role": "asistant", "content": "x"}),
            said({"role": "asssistant", "content": "x"}),
        ],
        "2 of 3 lines have an unknown role, the first is line 2 (`asistant` in message 1; "
        "did you mean `assistant`?): mend or remove them",
    ),
    "a role that nobody has": (
        [said(ASK, {"role": "narrator", "content": "x"})],
        "1 of 1 line has an unknown role, line 1 (`narrator` in message 2; roles are system, user and "
        "assistant): mend or remove it",
    ),
    "no role": (
        [said({"content": "x"})],
        "1 of 1 line has a message without a role, line 1 (message 1): mend or remove it",
    ),
    "content of another type": (
        [said(ASK, {"role": "model", "content": 7})],
        "1 of 1 line has content that is no text, line 1 (that of message 2 is a number): mend or remove it",
    ),
    "an image": (
        [said({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `image_url`): "
        "mend or remove it",
    ),
    "a call of a tool": (
        [said(ASK, {**TELL, "tool_calls": [{"id": "1"}]})],
        "1 of 1 line has a call or an answer of a tool, and conversations here are text, line 1 (message 2): "
        "leave such rows out with `bad_rows = skip`",
    ),
    "roles of tools": (
        [
            {
                "conversations": [
                    {"from": "human", "value": "weather?"},
                    {"from": "function_call", "value": "{}"},
                    {"from": "observation", "value": "5C"},
                    {"from": "gpt", "value": "5C."},
                ]
            }
        ],
        "1 of 1 line has a call or an answer of a tool, and conversations here are text, line 1 "
        "(`function_call` in message 2): leave such rows out with `bad_rows = skip`",
    ),
    "no message of a model": (
        [said(ASK), said({"role": "system", "content": "x"})],
        "2 of 2 lines have no message of a model, the first is line 1: mend or remove them",
    ),
    "no messages": ([said()], "1 of 1 line has no message in `messages`, line 1: mend or remove it"),
    "messages that are no list": (
        [{"messages": "hello"}, {"messages": 7}, {"messages": None}],
        "3 of 3 lines have a `messages` that is no list of messages, the first is line 1 (its text is "
        "not JSON): "
        "mend or remove them",
    ),
    "a message that is no object": (
        [said("hello")],
        "1 of 1 line has a message that is no object, line 1 (message 1 is text): mend or remove it",
    ),
    "half of a character": (
        [GOOD, '{"prompt": "a\\ud800b", "response": "x"}'],
        "1 of 2 lines has half of a character, line 2 (U+D800 in `prompt`): mend or remove it",
    ),
    "half of a character in a thought": (
        ['{"messages": [{"role": "model", "content": "x", "thought": "\\udfff"}]}'],
        "1 of 1 line has half of a character, line 1 (U+DFFF in the thought of message 1): mend or remove it",
    ),
    "NUL": (
        [said({"role": "user", "content": "a\0b"}, TELL)],
        "1 of 1 line has a NUL character, line 1 (message 1): mend or remove it",
    ),
    "NUL as it stands": (
        ['{"prompt": "a\0b", "response": "x"}'],
        "1 of 1 line is not JSON, line 1 (Invalid control character at column 14): mend or remove it",
    ),
    "a weight of a half": (
        [said(ASK, {**TELL, "weight": 0.5})],
        "1 of 1 line has a `weight` other than 0 and 1, line 1 (message 2: `0.5`): mend or remove it",
    ),
    "a weight that is no number, and deep": (
        ['{"messages": [{"role": "user", "content": "a", "weight": ' + "[" * 900 + "]" * 900 + "}]}"],
        "1 of 1 line has a `weight` other than 0 and 1, line 1 (message 1: a list): mend or remove it",
    ),
    "a part that is no object": (
        [said({"role": "user", "content": [7]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `int`): "
        "mend or remove it",
    ),
    "a part of a type that is none": (
        [said({"role": "user", "content": [{"type": ["text"], "text": "a"}]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `['text']`): "
        "mend or remove it",
    ),
    "a thought that is no text": (
        [said(ASK, {**TELL, "thought": 7})],
        "1 of 1 line has a thought that is no text, line 1 (that of message 2 is a number): "
        "mend or remove it",
    ),
    "a prompt that is no text": (
        [pair(), {"prompt": 7, "response": "x"}],
        "1 of 2 lines has a `prompt` that is no text, line 2 (it is a number): mend or remove it",
    ),
    "a null": (
        [pair(), {"prompt": "x", "response": None}],
        "1 of 2 lines has no `response`, line 2 (it is null): mend or remove it",
    ),
    "empty texts": (
        [pair(" "), pair(response="")],
        "1 of 2 lines has an empty `prompt`, line 1; 1 has an empty `response`, line 2: mend or remove them",
    ),
    "empty instructions": (
        [{"instruction": "", "input": " ", "output": "x"}, {"instruction": "x", "output": ""}],
        "1 of 2 lines has an empty `instruction`, line 1; 1 has an empty `output`, line 2: mend or "
        "remove them",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_rows_that_are_no_conversations(name: str, tmp_path: Path) -> None:
    rows, expected = LINES[name]
    write_lines(tmp_path / "data/chat.jsonl", rows)
    assert refusal(tmp_path, 'jsonl("data/chat.jsonl")') == repair(f"data/chat.jsonl: {expected}")


def test_mixed_shapes(tmp_path: Path) -> None:
    rows = [GOOD, GOOD, said(ASK, TELL), {"question": "a", "answer": "b"}]
    write_lines(tmp_path / "chat.jsonl", rows)
    assert refusal(tmp_path, 'jsonl("chat.jsonl")') == (
        "chat.jsonl mixes shapes (2 lines with `prompt`, `response` from line 1 on; 1 line with `messages` "
        "from line 3 on; 1 line with `question`, `answer` from line 4 on): put each into a source of its own"
    )


def test_a_fault_beside_mixed_shapes_is_said_first(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [GOOD, said(ASK, TELL), "7"])
    expected = "chat.jsonl: 1 of 3 lines is no object, line 3 (it is a number): mend or remove it"
    assert refusal(tmp_path, 'jsonl("chat.jsonl")') == repair(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            'prompt = "prompt", response = "answr"',
            "chat.jsonl: 1 of 2 lines has no column `answr`, line 1 (did you mean `answer`?): "
            "name one that every row has",
        ),
        (
            'messages = "turns"',
            "chat.jsonl: 2 of 2 lines have no column `turns`, the first is line 1 (its columns are `prompt`, "
            "`answer`): name one that every row has",
        ),
        (
            'messages = "turns", prompt = "x"',
            "source `natural`: `messages` names a whole conversation's column: leave out `prompt`",
        ),
        (
            'response = "x"',
            "source `natural`: `prompt` and `response` go together: name `prompt` too",
        ),
    ],
)
def test_names_of_columns(arguments: str, expected: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [{"prompt": "a", "answer": "b"}, {"prompt": "a", "answr": "b"}])
    assert refusal(tmp_path, f'jsonl("chat.jsonl", {arguments})') == repair(expected)


ARABIC = json.dumps(pair("من أنت؟", "أنا هيثم"), ensure_ascii=False)
WESTERN = json.dumps(pair("Größe", "été"), ensure_ascii=False)
LINE = json.dumps(GOOD).encode() + b"\n"

FILES: dict[str, tuple[bytes, str]] = {
    "Arabic in a code page": (
        LINE + ARABIC.encode("cp1256"),
        "chat.jsonl: 1 of 2 lines is not UTF-8, line 2 (byte 0xE3 at column 13; it looks like Windows-1256, "
        "Arabic): save the file as UTF-8",
    ),
    "western text in a code page": (
        LINE + WESTERN.encode("cp1252"),
        "chat.jsonl: 1 of 2 lines is not UTF-8, line 2 (byte 0xF6 at column 15; it looks like Windows-1252, "
        "western): save the file as UTF-8",
    ),
    "one bad byte": (
        ARABIC.encode().replace("؟".encode(), b"\xff") + b"\n" + LINE,
        "chat.jsonl: 1 of 2 lines is not UTF-8, line 1 (byte 0xFF at column 24): save the file as UTF-8",
    ),
    "cut short": (
        LINE + '{"prompt": "م'.encode()[:-1],
        "chat.jsonl: 1 of 2 lines is not UTF-8, line 2 (byte 0xD9 at column 13; the line ends within a "
        "character): mend or remove it",
    ),
    "UTF-16": (LINE.decode().encode("utf-16"), "chat.jsonl is UTF-16, not UTF-8: save the file as UTF-8"),
    "UTF-16 without a mark": (
        LINE.decode().encode("utf-16-be"),
        "chat.jsonl is UTF-16, not UTF-8: save the file as UTF-8",
    ),
    "empty": (b"", "chat.jsonl is empty: write conversations into it, or leave the source out"),
    "blank": (b"\n\n  \n", "chat.jsonl has no rows: write conversations into it, or leave the source out"),
    "a list that is not closed": (
        json.dumps([GOOD], indent=1).encode()[:-2],
        "chat.jsonl is not one JSON list (the end of the file where `]` belongs, at line 5, column 3): "
        "mend it there",
    ),
    "a list with a fault in it": (
        json.dumps([GOOD, GOOD], indent=1).encode().replace(b'"prompt"', b"prompt"),
        "chat.jsonl is not one JSON list (Expecting property name enclosed in double quotes, at line 3, "
        "column 3): mend it there",
    ),
    "a list and more": (
        json.dumps([GOOD]).encode() + b"\n{}",
        "chat.jsonl is not one JSON list (there is more after the list, at line 2, column 1): mend it there",
    ),
    "a list with a comma at its end": (
        b"[" + LINE + b",]",
        "chat.jsonl is not one JSON list (Expecting value, at line 2, column 2): mend it there",
    ),
    "a list of what is none": (
        b'[7, "x", {}]',
        "chat.jsonl: 2 of 3 lines are no object, the first is line 1 (it is a number); 1 has no conversation "
        "that is recognised, line 1 (it has no columns): mend or remove them",
    ),
    "a list of nothing": (
        b" [ ] ",
        "chat.jsonl has no rows: write conversations into it, or leave the source out",
    ),
    "a key twice": (
        LINE + b'{"prompt": "a", "response": "b", "prompt": "c"}\n',
        "chat.jsonl: 1 of 2 lines has a key twice, with two values, line 2 (`prompt`): mend or remove it",
    ),
    "spread over lines": (
        json.dumps(GOOD, indent=2).encode(),
        "chat.jsonl is JSON spread over lines, not an object on each line: `jq -c .` writes it so",
    ),
    "Parquet": (b"PAR1....", "chat.jsonl is a Parquet file: read it with `parquet`"),
    "a line of 33 MiB": (
        b'{"prompt": "' + b"x" * (33 << 20),
        "chat.jsonl: 1 of 1 line is longer than 32 MiB, line 1: write each conversation on a line of its own",
    ),
    "packed, and damaged": (
        b"\x1f\x8bnonsense",
        "chat.jsonl is damaged after line 0 (Unknown compression method): pack it again",
    ),
    "packed, and empty": (
        gzip.compress(b""),
        "chat.jsonl has no rows: write conversations into it, or leave the source out",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_not_what_they_should_be(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    (tmp_path / "chat.jsonl").write_bytes(content)
    assert refusal(tmp_path, 'jsonl("chat.jsonl")') == repair(expected)


def test_a_packed_file_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl.gz").write_bytes(gzip.compress(LINE * 1000)[:-20])
    sentence = refusal(tmp_path, 'jsonl("chat.jsonl.gz")')
    assert sentence.startswith("chat.jsonl.gz is damaged after line ")
    assert sentence.endswith(
        "(Compressed file ended before the end-of-stream marker was reached): pack it again"
    )


TABLES: dict[str, tuple[str, str]] = {
    "a width that changes": (
        "prompt,response\na,b\nc\nd,e,f\n",
        "chat.csv: 2 of 3 rows have another number of fields than the header, the first is line 3 (1 instead "
        "of 2): mend or remove them",
    ),
    "a quote that is not closed": (
        'prompt,response\na,b\n"c,d\ne,f\n',
        "chat.csv: 1 of 2 rows is not CSV, line 3 (a quote that is opened there is never closed): "
        "mend or remove it",
    ),
    "a quote within a field": (
        'prompt,response\na,b\n"c"x,d\ne,f\n',
        "chat.csv: 1 of 3 rows is not CSV, line 3 (',' expected after '\"'): mend or remove it",
    ),
    "lines that count, with fields of several": (
        'prompt,response\n"a\n\nb",c\n\nd,\n',
        "chat.csv: 1 of 2 rows has an empty `response`, line 6: mend or remove it",
    ),
    "old line ends": (
        "prompt,response\ra,b\r",
        "chat.csv: its header is not CSV (a carriage return stands alone in it): mend it",
    ),
    "NUL in a field": (
        "prompt,response\na\0b,c\n",
        "chat.csv: 1 of 1 row has a NUL character, line 2 (`prompt`): mend or remove it",
    ),
    "half of a character in the JSON of a field": (
        'messages\n"[{""role"": ""model"", ""content"": ""\\ud800""}]"\n',
        "chat.csv: 1 of 1 row has half of a character, line 2 (U+D800 in message 1): mend or remove it",
    ),
    "a header alone": (
        "prompt,response\n",
        "chat.csv has no rows: write conversations into it, or leave the source out",
    ),
    "no known columns": (
        "frage,antwort\na,b\n",
        f"chat.csv has no conversation that is recognised (its columns are `frage`, `antwort`): {NAME_THEM}",
    ),
    "a column twice": (
        "prompt,response,prompt\na,b,c\n",
        "chat.csv has more than one column `prompt`: give each its own name",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_text(name: str, tmp_path: Path) -> None:
    content, expected = TABLES[name]
    (tmp_path / "chat.csv").write_bytes(content.encode())
    assert refusal(tmp_path, 'csv("chat.csv")') == repair(expected)


def test_a_table_in_a_code_page(tmp_path: Path) -> None:
    (tmp_path / "chat.csv").write_bytes(b"prompt,response\na,b\n" + "من أنت,أنا".encode("cp1256"))
    assert refusal(tmp_path, 'csv("chat.csv")') == (
        "chat.csv: 1 of 2 rows is not UTF-8, line 3 (byte 0xE3 at column 1; it looks like Windows-1256, "
        "Arabic): "
        "save the file as UTF-8"
    )
    (tmp_path / "chat.csv").write_bytes("سؤال,response\na,b\n".encode("cp1256"))
    assert refusal(tmp_path, 'csv("chat.csv")') == (
        "chat.csv: its header is not UTF-8 (byte 0xD3 at column 1; it looks like Windows-1256, Arabic): "
        "save the file as UTF-8"
    )


def test_a_table_without_the_named_column(tmp_path: Path) -> None:
    (tmp_path / "chat.csv").write_text("prompt,answer\na,b\n")
    assert refusal(tmp_path, 'csv("chat.csv", prompt = "prompt", response = "answr")') == (
        "chat.csv has no column `answr` (did you mean `answer`?): name one that every row has"
    )


def test_parquet_that_holds_no_conversations(tmp_path: Path) -> None:
    path = tmp_path / "chat.parquet"
    write_parquet(
        path,
        [{"prompt": "a", "response": 3}, {"prompt": "a", "response": None}],
        "prompt VARCHAR, response INTEGER",
    )
    assert refusal(tmp_path, 'parquet("chat.parquet")') == repair(
        "chat.parquet: 1 of 2 rows has a `response` that is no text, row 1 (it is a number); 1 has no "
        "`response`, row 2 (it is null): mend or remove them"
    )
    write_parquet(path, [], "prompt VARCHAR, response VARCHAR")
    assert refusal(tmp_path, 'parquet("chat.parquet")') == (
        "chat.parquet has no rows: write conversations into it, or leave the source out"
    )
    write_parquet(path, [{"q": "a"}], "q VARCHAR")
    assert refusal(tmp_path, 'parquet("chat.parquet")') == (
        f"chat.parquet has no conversation that is recognised (its columns are `q`): {NAME_THEM}"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"x", "File too small to be a Parquet file"), (b"hello " * 9, "No magic bytes found at end of file")],
)
def test_parquet_that_is_none(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "chat.parquet").write_bytes(content)
    assert refusal(tmp_path, 'parquet("chat.parquet")') == (
        f"chat.parquet cannot be read as Parquet ({reason}): write it again"
    )


def test_parquet_that_is_damaged_within(tmp_path: Path) -> None:
    path = tmp_path / "chat.parquet"
    write_parquet(
        path, [pair(f"question {i}", f"answer {i}") for i in range(50)], "prompt VARCHAR, response VARCHAR"
    )
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) - 300) + content[-296:])
    assert refusal(tmp_path, 'parquet("chat.parquet")').startswith("chat.parquet cannot be read as Parquet (")


def test_the_first_faulty_source_keeps_the_others_out_of_the_log(tmp_path: Path) -> None:
    """`refusal` looks that nothing was logged, also of the source that holds."""
    write_lines(tmp_path / "good.jsonl", [GOOD])
    write_lines(tmp_path / "bad.jsonl", [GOOD, "7"])
    reader = 'jsonl("good.jsonl")\nsource other: messages from jsonl("bad.jsonl")'
    assert refusal(tmp_path, reader).startswith("bad.jsonl: 1 of 2 lines is no object")
