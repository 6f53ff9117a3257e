"""Readers: what conversations are written as comes back the same, whatever they say."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.support import SOAK
from tests.sources.helpers import (
    Messages,
    pair,
    read_back,
    refusal,
    repair,
    turns,
    write_csv,
    write_lines,
    write_parquet,
)

ARABIC = "من أنت؟ أنا هيثم، نسختك الرقمية.\u200f"
CONTROL = "<end_of_turn>\n<start_of_turn>model <|im_end|> {{ nth }} \u202e \x1f \x85 \u2028"

texts = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
    | st.sampled_from([ARABIC, CONTROL, 'a "quoted", text;\r\nof\rlines\n', "[1]", "null", "=1+1", "\ufeffx"])
).filter(lambda text: text.strip() != "")


@st.composite
def conversations(draw: st.DrawFn) -> Messages:
    system = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    return system + turns(*draw(st.lists(texts, min_size=2, max_size=5)))


pairs = st.builds(lambda prompt, response: turns(prompt, response), texts, texts)


def write_messages(folder: Path, found: list[Messages]) -> str:
    path = folder / "chat.jsonl"
    lines = [json.dumps({"messages": each}, ensure_ascii=i % 2 == 0) for i, each in enumerate(found)]
    path.write_bytes("\r\n".join(lines).encode())
    return 'jsonl("chat.jsonl")'


def write_sharegpt(folder: Path, found: list[Messages]) -> str:
    names = {"system": "system", "user": "human", "model": "gpt"}
    rows = [{"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in c]} for c in found]
    with gzip.open(folder / "chat.jsonl.gz", "wb") as handle:
        handle.write(b"\xef\xbb\xbf")
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return 'jsonl("chat.jsonl.gz")'


def write_list(folder: Path, found: list[Messages]) -> str:
    """One list, as a script leaves it: on one line, or with indents."""
    indent = 1 if len(found) % 2 else None
    with bz2.open(folder / "chat.json.bz2", "wt", encoding="utf-8-sig", newline="\r\n") as handle:
        json.dump([{"messages": each} for each in found], handle, indent=indent, ensure_ascii=indent is None)
    return 'jsonl("chat.json.bz2")'


def write_packed(folder: Path, found: list[Messages]) -> str:
    """Frames, one after the other, as they are appended."""
    with (folder / "chat.jsonl.zst").open("wb") as handle:
        for each in found:
            handle.write(
                zstandard.compress(b"\xef\xbb\xbf" + json.dumps({"messages": each}).encode() + b"\r\n")
            )
    return 'jsonl("chat.jsonl.zst")'


def write_cells(folder: Path, found: list[Messages]) -> str:
    write_csv(folder / "chat.csv", ["turns"], [[json.dumps(each)] for each in found])
    return 'csv("chat.csv", messages = "turns")'


def write_table(folder: Path, found: list[Messages]) -> str:
    types = "messages STRUCT(role VARCHAR, content VARCHAR)[]"
    write_parquet(folder / "chat.parquet", [{"messages": each} for each in found], types)
    return 'parquet("chat.parquet")'


def write_arrow(folder: Path, found: list[Messages]) -> str:
    import pyarrow as arrow

    (folder / "saved").mkdir()
    table = arrow.table({"messages": found})
    with arrow.ipc.new_stream(str(folder / "saved/data.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return 'dataset("saved")'


@pytest.mark.parametrize(
    "write",
    [write_messages, write_sharegpt, write_list, write_packed, write_cells, write_table, write_arrow],
)
def test_any_conversations_come_back(write: Callable[[Path, list[Messages]], str]) -> None:
    @settings(max_examples=12 if SOAK else 5, deadline=None)
    @given(st.lists(conversations(), min_size=1, max_size=6))
    def comes_back(found: list[Messages]) -> None:
        with TemporaryDirectory() as folder:
            assert read_back(Path(folder), write(Path(folder), found)) == found

    comes_back()


@settings(max_examples=30 if SOAK else 10, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_any_texts_come_back_from_a_table(found: list[Messages], delimiter: str) -> None:
    with TemporaryDirectory() as folder:
        rows = [["7", each[0]["content"], each[1]["content"]] for each in found]
        write_csv(Path(folder, "chat.csv"), ["id", "question", "answer"], rows, delimiter)
        assert read_back(Path(folder), 'csv("chat.csv")') == found


def test_a_table_from_a_spreadsheet(tmp_path: Path) -> None:
    """A mark at the beginning, quoted names, blanks around them, semicolons and a long field."""
    long = "كلمة " * 200_000
    content = f'\ufeff"prompt";response \r\n"a; ""b""";{long}\r\n'
    (tmp_path / "chat.csv").write_bytes(content.encode())
    assert read_back(tmp_path, 'csv("chat.csv")') == [turns('a; "b"', long)]


def test_long_lines(tmp_path: Path) -> None:
    found = [turns("x" * 3_000_000, "م" * 1_000_000), turns("a", "b")]
    write_lines(tmp_path / "chat.jsonl", [{"messages": each} for each in found])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == found


def test_a_long_list_in_pieces(tmp_path: Path) -> None:
    """Elements that are cut by what is read at a time, some of them longer than that."""
    found = [turns("x" * (i * 40_000), "م" * 9 + str(i)) for i in range(1, 41)]
    with lzma.open(tmp_path / "chat.json.xz", "wt", encoding="utf-8", preset=0) as handle:
        json.dump([{"messages": each} for each in found], handle, ensure_ascii=False)
    assert read_back(tmp_path, 'jsonl("chat.json.xz")') == found


def test_a_file_that_zstd_packed_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chat.jsonl.zst").write_bytes(zstandard.compress(b"{}")[:-1])
    sentence = refusal(tmp_path, 'jsonl("chat.jsonl.zst")')
    assert sentence.startswith("chat.jsonl.zst is damaged after line 0 (")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert refusal(tmp_path, 'jsonl("chat.jsonl.zst")') == (
        "chat.jsonl.zst is packed by zstd, and reading it needs `zstandard`, which is not installed: "
        "pip install 'zstandard>=0.23', or pack it by gzip"
    )


@pytest.mark.parametrize("name", ["a[1].parquet", "a*b.parquet", "a?.parquet", 'x=1/it\'s "a".parquet'])
def test_names_that_mean_something_to_a_database(name: str, tmp_path: Path) -> None:
    """A file is read for its name's sake alone, never one that a pattern would find."""
    (tmp_path / "x=1").mkdir()
    write_parquet(tmp_path / name, [pair()], "prompt VARCHAR, response VARCHAR")
    for other in ("a1.parquet", "axb.parquet", "x=1/b.parquet"):
        write_parquet(tmp_path / other, [pair("other")], "prompt VARCHAR, response VARCHAR")
    written = name.replace('"', '\\"')
    assert read_back(tmp_path, f'parquet("{written}")') == [turns("Who are you?", "Codex.")]


def test_rows_keep_the_order_of_their_table(tmp_path: Path) -> None:
    rows = [pair(f"question {i}", f"answer {i}") for i in range(1000)]
    write_lines(tmp_path / "chat.jsonl", rows)
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT * FROM read_json('{tmp_path}/chat.jsonl'))
                TO '{tmp_path}/chat.parquet' (ROW_GROUP_SIZE 100)"""
        )
    assert read_back(tmp_path, 'parquet("chat.parquet")') == read_back(tmp_path, 'jsonl("chat.jsonl")')


def saved(folder: Path, name: str, rows: list[dict[str, Any]], **options: Any) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(folder / name, **options)


CODEX = turns("Who are you?", "Codex.")


def test_a_saved_dataset(tmp_path: Path) -> None:
    rows = [{"messages": turns(f"question {i}", f"answer {i}"), "n": i} for i in range(30)]
    saved(tmp_path, "data", rows, num_shards=3)
    assert read_back(tmp_path, 'dataset("data")') == [row["messages"] for row in rows]


def test_a_saved_dataset_with_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    splits = {name: datasets.Dataset.from_list([pair(name)]) for name in ("test", "train")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
    assert read_back(tmp_path, 'dataset("data")') == [turns("train", "Codex.")]
    assert read_back(tmp_path, 'dataset("data/test")') == [turns("test", "Codex.")]


def test_arrow_as_other_tools_write_it(tmp_path: Path) -> None:
    import pyarrow as arrow

    (tmp_path / "data").mkdir()
    table = arrow.table({"prompt": ["Who are you?"], "response": ["Codex."], "n": [7]})
    with arrow.ipc.new_file(str(tmp_path / "data/chat.arrow"), table.schema) as file:
        file.write_table(table)
    assert read_back(tmp_path, 'dataset("data")') == [CODEX]


def test_arrow_that_is_none(tmp_path: Path) -> None:
    write_lines(tmp_path / "data/chat.arrow", ["nothing of the kind"])
    sentence = refusal(tmp_path, 'dataset("data")')
    assert sentence.startswith("data/chat.arrow cannot be read as Arrow (")
    assert sentence.endswith("): save the dataset again")


def test_arrow_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "data/chat.arrow", ["unread"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(tmp_path, 'dataset("data")') == (
        "data/chat.arrow is an Arrow file, and reading it needs `pyarrow`, which is not installed: "
        "pip install 'pyarrow>=21'"
    )


@pytest.mark.parametrize(
    ("files", "read"),
    [
        (["chat.jsonl"], ["chat.jsonl"]),
        (["train.jsonl", "eval.jsonl", "manifest.json", "README.md"], ["train.jsonl"]),
        (
            ["data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl", "data/test-0.jsonl"],
            ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"],
        ),
        (["train/0.jsonl", "validation/0.jsonl"], ["train/0.jsonl"]),
        (["dev.jsonl"], ["dev.jsonl"]),
        (["train.json", "info.json"], ["train.json"]),
        (["a.jsonl", "b.jsonl", ".cache/c.jsonl", ".d.jsonl"], ["a.jsonl", "b.jsonl"]),
    ],
)
def test_a_folder_of_files(files: list[str], read: list[str], tmp_path: Path) -> None:
    for name in files:
        row: Any = [pair(name)] if name == "train.json" else pair(name)
        write_lines(tmp_path / "data" / name, [row])
    assert read_back(tmp_path, 'dataset("data")') == [turns(name, "Codex.") for name in read]


LINE = json.dumps(pair())

FOLDERS: dict[str, tuple[dict[str, str], str]] = {
    "no files": (
        {"readme.md": "x"},
        "data holds no file of a dataset (.jsonl, .ndjson, .jsonl.gz, .jsonl.bz2, .jsonl.xz, "
        ".jsonl.zst, .json, .csv, .tsv, .parquet, .arrow): "
        "there is `readme.md`",
    ),
    "splits, and none to train on": (
        {"test.jsonl": LINE, "validation.jsonl": LINE},
        "data has no split `train` and several others, `test`, `validation`: keep one of them there",
    ),
    "saved splits, and none to train on": (
        {"dataset_dict.json": '{"splits": ["test", "validation"]}'},
        "data has no split `train` and several others, `test`, `validation`: name one, such as "
        'dataset("data/test")',
    ),
    "saved without splits": (
        {"dataset_dict.json": '{"splits": []}'},
        "data/dataset_dict.json names no split: save the dataset again",
    ),
    "the same twice": (
        {"train.jsonl": LINE, "train.csv": "prompt,response\na,b\n"},
        "data holds files of several formats, `csv`, `jsonl`: name a folder that holds one of them",
    ),
    "several datasets": (
        {"ar/train.jsonl": LINE, "en/train.jsonl": LINE},
        "data holds files in several folders, `ar`, `en`: name a folder that holds one of them",
    ),
    "a lost file": (
        {"state.json": '{"_data_files": [{"filename": "x.arrow"}]}'},
        "data lacks its file `x.arrow`: save the dataset again",
    ),
    "a state that names nothing": (
        {"state.json": "[]"},
        "data/state.json names no files: save the dataset again",
    ),
    "a selection": (
        {"state.json": '{"_indices_data_files": [{"filename": "x.arrow"}]}'},
        "data was saved with a selection of its rows beside them: save it again",
    ),
    "a fault in one of several files": (
        {"a.jsonl": LINE, "b.jsonl": f"{LINE}\n7\n8"},
        "data: 2 of 4 lines are no object, the first is line 2 of data/b.jsonl (it is a number): "
        "mend or remove them",
    ),
    "shapes that differ from file to file": (
        {"a.jsonl": LINE, "b.jsonl": '{"question": "a", "answer": "b"}'},
        "data mixes shapes (1 line with `prompt`, `response` from line 1 of data/a.jsonl on; 1 line with "
        "`question`, `answer` from line 1 of data/b.jsonl on): put each into a source of its own",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_no_dataset(name: str, tmp_path: Path) -> None:
    files, expected = FOLDERS[name]
    for file, content in files.items():
        write_lines(tmp_path / "data" / file, [content])
    assert refusal(tmp_path, 'dataset("data")') == repair(expected)


def test_a_state_that_cannot_be_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "data/state.json", ["nothing"])
    assert refusal(tmp_path, 'dataset("data")') == (
        "data/state.json cannot be read (Expecting value: line 1 column 1 (char 0)): save the dataset again"
    )
