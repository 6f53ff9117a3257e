"""Recipes with a source, files for it, and what comes of them in a log."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth.base.errors import ConfigError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.runtime.events.recorder import Recorder
from synth.runtime.sources.ingest import IngestedSource, check_sources, ingest_sources
from synth.store.dataset.inputs.sources import source_of, source_rows
from synth.store.log.log import Log
from synth.store.log.source_payloads import SourceIngested
from tests.kit.support import query

Messages = list[dict[str, Any]]

READER = 'jsonl("chat.jsonl")'
NAME_THEM = "name the columns, with `prompt` and `response` or with `messages`"


def plan_for(folder: Path, reader: str, recipe: str = "example") -> Plan:
    """A plan with one source, `natural`, of a recipe that lies in a folder."""
    text = f"edition 1\n\nrecipe {recipe} {{ seed = 1 }}\n\nsource natural: messages from {reader}\n"
    return compile_text(text).plan.below(folder)


def ingest(
    plan: Plan, log: Path, allowed: Sequence[Path] = (), stopping: Callable[[], bool] = lambda: False
) -> dict[str, IngestedSource]:
    """Runs a plan's sources into a log as a run does."""

    async def go(opened: Log) -> dict[str, IngestedSource]:
        recorder = Recorder(opened, "run")
        try:
            return await ingest_sources(plan, opened, recorder, allowed, stopping)
        finally:
            await recorder.close()

    with Log(log, writer=True) as opened:
        return asyncio.run(go(opened))


def logged(plan: Plan, log: Path, events: int | None = None) -> list[tuple[str, SourceIngested]]:
    """Row id and payload of the rows that a dataset of the plan's first source is made from."""
    with Log(log) as opened:
        cursor = opened.cursor()
        version = source_of(plan, plan.sources[0], cursor, opened.next_seq if events is None else events)
        return [(row_id, payload) for _, row_id, payload in source_rows(cursor, version)]


def read_back(folder: Path, reader: str) -> list[Messages]:
    """The conversations that a reader makes of what lies in a folder."""
    log = folder / "log.duckdb"
    log.unlink(missing_ok=True)
    plan = plan_for(folder, reader)
    check_sources(plan)
    ingest(plan, log)
    return [[*map(dict, payload["messages"])] for _, payload in logged(plan, log)]


def refusal(folder: Path, reader: str, allowed: Sequence[Path] = ()) -> str:
    """The sentence with which a run over a source ends, after checking that it logged nothing."""
    log = folder / "log.duckdb"
    with pytest.raises(ConfigError) as raised:
        ingest(plan_for(folder, reader), log, allowed)
    with Log(log) as opened:
        assert opened.next_seq == 0
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


def repair(sentence: str) -> str:
    """A refusal as it is said in full: where rows are to be mended, they can be left out as well."""
    return sentence + ", or say `bad_rows = skip`" if " mend or remove " in sentence else sentence


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """JSON Lines; texts among the rows are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    with path.open("wb") as file:
        file.writelines(line.encode() + b"\n" for line in lines)
    return path


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], types: str) -> Path:
    """`types` are the columns with their DuckDB types: `prompt VARCHAR, response VARCHAR`."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows ({types})")
        for row in rows:
            connection.execute(f"INSERT INTO rows VALUES ({', '.join('?' * len(row))})", list(row.values()))
        connection.execute("COPY rows TO '" + str(path).replace("'", "''") + "' (FORMAT parquet)")
    return path


def pair(prompt: str = "Who are you?", response: str = "Codex.") -> dict[str, str]:
    return {"prompt": prompt, "response": response}


def turns(*contents: str, roles: Sequence[str] = ("user", "model")) -> Messages:
    """Messages whose roles take turns."""
    return [{"role": roles[i % len(roles)], "content": text} for i, text in enumerate(contents)]


def after(checks: int) -> Callable[[], bool]:
    """Says stop once it was asked some times."""
    left = [checks]

    def stopping() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stopping


def numbered(count: int, start: int = 0) -> list[dict[str, str]]:
    return [pair(f"question {i}", f"answer {i}") for i in range(start, start + count)]


def contents(plan: Plan, log: Path, events: int | None = None) -> list[str]:
    return [payload["messages"][0]["content"] for _, payload in logged(plan, log, events)]


def kinds(log: Path) -> list[tuple[str, int]]:
    found = query(log, "SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind")
    return [(kind, count) for kind, count in found]


GOOD = pair()
