"""What the functions give back: rows, tables, and a line that says how it went."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import synth
from tests.kit.support import QUICKSTART, rows

# As a recipe writes them: markup, an override of the direction, an escape.
HOSTILE = r"<b>bold</b> & \u{202e}gnirts\u{1b}[31m"


def quickstart(folder: Path, change: tuple[str, str] = ("", ""), **params: Any) -> synth.Plan:
    recipe = folder / "quickstart.recipe"
    recipe.write_text(QUICKSTART.read_text("utf-8").replace(*change, 1))
    return synth.compile(recipe, **params)


def made(folder: Path, form: str = "") -> synth.Dataset:
    export = 'to "out/quickstart"'
    plan = quickstart(folder, (export, f"{export} {{ split = 60%{form} }}"), conversations=20)
    synth.run(plan, log=folder / "synth.duckdb", backend="simulated")
    (dataset,) = synth.materialize(plan, log=folder / "synth.duckdb", out=folder)
    return dataset


def test_a_dataset_gives_its_rows(tmp_path: Path) -> None:
    dataset = made(tmp_path)
    train, held_out = (rows(dataset.folder / f"{name}.jsonl") for name in ("train", "eval"))
    assert train
    assert held_out
    assert list(dataset) == train + held_out
    assert list(dataset.read("eval")) == held_out
    assert len(dataset) == 20
    assert repr(dataset) == (
        f"<Dataset train in {tmp_path / 'out/quickstart'}: train {len(train)}, eval {len(held_out)}>"
    )
    table = dataset.to_arrow()
    assert table.to_pylist() == train + held_out
    assert str(table.schema.field("id").type) == "string"
    assert dataset.to_arrow("train").num_rows == len(train)
    frame = dataset.to_pandas("train")
    assert list(frame.columns) == ["id", "prompt", "completion"]
    assert [dict(each) for each in frame["completion"][0]] == train[0]["completion"]


def test_rows_of_parquet_are_the_same(tmp_path: Path) -> None:
    jsonl, parquet = tmp_path / "jsonl", tmp_path / "parquet"
    jsonl.mkdir()
    parquet.mkdir()
    there, again = made(jsonl), made(parquet, ", format = parquet")
    assert list(again) == list(there)
    assert again.to_arrow().equals(there.to_arrow())


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made(tmp_path)
    with pytest.raises(synth.ConfigError, match="has no split `test`: it has `train` and `eval`"):
        dataset.read("test")
    find = importlib.util.find_spec
    missing = ("pandas", "pyarrow")
    monkeypatch.setattr(
        "synth.store.dataset.output.written.find_spec", lambda name: None if name in missing else find(name)
    )
    with pytest.raises(synth.ConfigError, match=r"`to_pandas` needs `pandas`, .* pip install 'pandas"):
        dataset.to_pandas()
    with pytest.raises(synth.ConfigError, match=r"`to_arrow` needs `pyarrow`, .* pip install 'pyarrow"):
        dataset.to_arrow()
    (dataset.folder / "eval.jsonl").unlink()
    with pytest.raises(synth.ConfigError, match="is gone: materialize the dataset again"):
        list(dataset)


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made(tmp_path)
    first, loads = next(iter(rows(dataset.folder / "train.jsonl"))), json.loads
    read: list[str] = []

    def counted(line: str) -> Any:
        read.append(line)
        return loads(line)

    monkeypatch.setattr("synth.store.dataset.output.written.json.loads", counted)
    assert next(iter(dataset)) == first
    assert len(read) == 1
    assert len(dataset) == 20


def test_plans_reports_and_datasets_say_what_they_are(tmp_path: Path) -> None:
    plan = quickstart(tmp_path, ("What is your primary function?", HOSTILE), conversations=6)
    assert repr(plan) == "<Plan quickstart: identity 6; 12 calls without retries>"
    assert str(plan) == repr(plan)
    assert "<td" in plan._repr_html_()
    log = tmp_path / "synth.duckdb"
    report = synth.run(plan, log=log, backend="simulated", limit=4)
    assert repr(report).startswith("<RunReport limited (--limit 4): identity 4 of 4; 8 calls in 0.")
    shown = report._repr_html_()
    assert ">identity.answer</td>" in shown
    (dataset,) = synth.materialize(plan, log=log, out=tmp_path, partial=True)
    assert repr(dataset).endswith(": train 4; 2 missing>")
    page = dataset._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;U+202E&gt;gnirts" in page
    assert "<b>" not in page
    assert "\x1b" not in page
