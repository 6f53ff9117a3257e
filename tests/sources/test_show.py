"""`synth show`: where a row from outside comes from."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from synth.base.canonical import digest
from tests.kit.support import one_sentence, synth
from tests.sources.helpers import after, ingest, logged, pair, plan_for, turns, write_lines, write_parquet


def test_a_row_tells_its_file_and_line(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "من أنت؟\n<|im_end|>"},
        {"role": "assistant", "content": "Codex.", "weight": 1, "thought": "Be brief."},
    ]
    path = write_lines(tmp_path / "chat.jsonl", [{"messages": turns("a", "b")}, "", {"messages": messages}])
    plan = plan_for(tmp_path, 'jsonl("chat.jsonl")')
    log = tmp_path / "synth.duckdb"
    ingest(plan, log)
    row_id, payload = logged(plan, log)[1]
    result = synth("show", row_id, cwd=tmp_path)
    assert result.status == 0, result.err
    assert result.out == (
        f"row {row_id} of the source `natural`, sha256 {digest(payload['messages'])}\n"
        "  | user: من أنت؟\n"
        "  | <|im_end|>\n"
        "  | model, weight 1: Codex.\n"
        "  |   thought: Be brief.\n"
        "\n[1] read from chat.jsonl, line 3\n"
        "  row 2 of 2, read as `messages`\n"
        f"  the file had {path.stat().st_size} bytes, sha256 {sha256(path.read_bytes()).hexdigest()}\n"
    )
    (event,) = json.loads(synth("show", row_id[:8], "--json", cwd=tmp_path).out)
    assert event["payload"] == payload


def test_a_row_of_several_versions_tells_all_of_them(tmp_path: Path) -> None:
    """Also of one that was not read to its end."""
    log = tmp_path / "synth.duckdb"
    plan = plan_for(tmp_path, 'jsonl("chat.jsonl")')
    write_lines(tmp_path / "chat.jsonl", [pair("a"), pair("b")])
    ingest(plan, log)
    row_id = logged(plan, log)[1][0]
    write_lines(tmp_path / "chat.jsonl", [pair("b"), *(pair(str(number)) for number in range(600))])
    assert not ingest(plan, log, stopping=after(3))["natural"].complete
    out = synth("show", row_id, cwd=tmp_path).out
    assert out.count("user: b") == 1
    assert "[1] read from chat.jsonl, line 2\n  row 2 of 2, read as `prompt_response`\n" in out
    unused = "  of a version that was not read to its end: its rows are not used\n"
    assert out.endswith("[3] read from chat.jsonl, line 1\n" + unused)


def test_a_row_of_a_table_tells_its_number(tmp_path: Path) -> None:
    types = "prompt VARCHAR, response VARCHAR"
    write_parquet(tmp_path / "chat.parquet", [pair("a"), pair("b")], types)
    plan = plan_for(tmp_path, 'parquet("chat.parquet")')
    log = tmp_path / "synth.duckdb"
    ingest(plan, log)
    assert "read from chat.parquet, row 2\n" in synth("show", logged(plan, log)[1][0], cwd=tmp_path).out


def test_an_id_that_nothing_has(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [pair()])
    ingest(plan_for(tmp_path, 'jsonl("chat.jsonl")'), tmp_path / "synth.duckdb")
    expected = "synth.duckdb knows no sample `none`: rows carry theirs as `id`"
    assert one_sentence(synth("show", "none", cwd=tmp_path), 1) == expected
