"""Passages of documents as rows that conversations are over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import ConfigError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.plan.tables.table_plan import TablePlan
from synth.runtime.events.recorder import Recorder
from synth.runtime.run.passages import read_tables
from synth.runtime.sources.ingest import IngestedSource, ingest
from synth.store.dataset.inputs.filter import keep
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.inputs.sources import source_of, source_rows
from synth.store.dataset.rows.tables import tables
from synth.store.log.log import Log

RECIPE = """edition 1
recipe example { seed = 1 }
source docs: chunk from folder("docs", glob = "**/*.{md,txt}") {
  split = by_heading(max_words = 20, overlap = 5)
  keep { no_words("secret") }
}
conversation chats times 1 { turn ask: user = "Hello." }
"""


def ranging(folder: Path) -> Plan:
    plan = compile_text(RECIPE).plan.below(folder)
    rows = TablePlan(name="passage", kind="source", table="docs")
    return plan.model_copy(update={"cohorts": (plan.cohorts[0].model_copy(update={"rows": rows}),)})


def run(plan: Plan, log: Path) -> list[IngestedSource]:
    async def go(opened: Log) -> list[IngestedSource]:
        recorder = Recorder(opened, "run")
        try:
            return [await ingest(each, recorder) for each in await read_tables(plan, opened)]
        finally:
            await recorder.close()

    with Log(log, writer=True) as opened:
        return asyncio.run(go(opened))


def passages(plan: Plan, log: Path) -> list[tuple[str, dict[str, Any]]]:
    with Log(log) as opened:
        version = source_of(plan, plan.sources[0], opened.cursor(), opened.next_seq)
        kept = set(keep(plan.sources[0], version, opened.cursor()).seqs)
        found: Any = source_rows(opened.cursor(), version)
        return [(name, dict(payload["values"])) for seq, name, payload in found if seq in kept]


def test_passages_are_rows(tmp_path: Path, log: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "b.md").write_text("# Fees\n\nThe fee is ten.\n\n## Late\n\n" + "Late again is dear. " * 4)
    (docs / "a.txt").write_text("Rooms are small.")
    (docs / "c.txt").write_text("A secret.")
    (docs / "d.txt").write_text(" ")
    (docs / "e.xyz").write_text("x")
    plan = ranging(tmp_path)
    (read,) = run(plan, log)
    found = passages(plan, log)
    assert (read.rows, read.new, read.complete, len(found)) == (4, 4, True, 3)
    assert read.warnings == ("`d.txt` holds no text and is left out",)
    assert found[0][1] == {"text": "Rooms are small.", "document": "a.txt", "heading": ""}
    assert [values["heading"] for _, values in found[1:]] == ["Fees", "Fees > Late"]
    # What did not change keeps its name, and is not read again.
    assert [each.new for each in run(plan, log)] == [0]
    (docs / "b.md").write_text("# Fees\n\nThe fee is eleven.")
    assert [each.new for each in run(plan, log)] == [3]
    assert passages(plan, log)[0] == found[0]


def test_a_source_that_no_conversation_is_over_is_not_read(tmp_path: Path, log: Path) -> None:
    plan = compile_text(RECIPE).plan.below(tmp_path)
    assert run(plan, log) == []


def test_documents_that_hold_nothing_are_one_sentence(tmp_path: Path, log: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text(" ")
    with pytest.raises(ConfigError, match="no document in `docs` holds any text"):
        run(ranging(tmp_path), log)
    (tmp_path / "docs/b.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"`docs/b\.md` "):
        run(ranging(tmp_path), log)


def test_a_manifest_says_what_was_read_of_tables(tmp_path: Path, log: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("Rooms are small.")
    (docs / "b.txt").write_text("A secret.")
    plan = ranging(tmp_path)
    plan = plan.model_copy(
        update={"exports": (ExportPlan(name="x", type="messages", source="chats", to="x"),)}
    )
    run(plan, log)
    with Log(log) as opened:
        snapshot = LogSnapshot(plan, opened, opened.next_seq)
        (said,) = tables(snapshot, plan.exports[0]).values()
    assert (said["read"], said["kept"], said["dropped"]) == (2, 1, {"no_words": 1})
