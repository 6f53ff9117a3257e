"""Files and tables that cannot be read are refused in one sentence that says where."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.sources.helpers import GOOD, NAME_THEM, pair, refusal, repair, write_parquet

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
