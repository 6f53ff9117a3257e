"""Rows that the database puts together are those that are made one by one, byte for byte."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.compiler.compile import compile_text
from synth.store.dataset.materialize import exported, materialize
from synth.store.dataset.rows.layout import Layout, as_lines
from synth.store.log.log import Log
from tests.kit.support import SOAK
from tests.store.log.logs import IDENTITY, Story, all_slots

RECIPE = r"""edition 1
recipe plain { seed = 5 }
model base: model<chat, json> from pocket()
schema Note { about: text }
conversation talk times 9 {
  draw kind from ["it's", "\"x\"", "a;b\\c"]
  turn ask: user = "What?"
  turn answer: model by base { prompt = "{{ ask }}" }
  step note: json<Note> by base { prompt = "{{ ask }}" }
  turn more: user = "And?"
  turn closing: model by base { prompt = "{{ more }}" }
  train_on = [answer, closing]
  tags = ["'", "\\u"]
}
"""
EXPORTS = {
    "messages": "",
    "messages, a split": "columns = [talk.kind, talk.ask], split = 60%",
    "messages, a column of JSON": "columns = [talk.note]",
    "messages, thoughts": "thought = wrap",
    "messages, thoughts kept": "thought = keep",
    "prompt_completion": "columns = [talk.more], split = 50%",
    "sharegpt": "",
    "messages, roles": "roles = model",
}
# What JSON, SQL or DuckDB might take for something else, beside all other characters.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("'\"\\/;\x00\x1b\x7f\n\u2028\u202e<")
) | st.sampled_from(["\\u001b", '","content":"', "{{ ask }}", "<think>"])


@pytest.mark.slow
@pytest.mark.parametrize("export", EXPORTS)
@settings(max_examples=12 if SOAK else 5, deadline=None)
@given(data=st.data())
def test_rows_are_the_same_whoever_makes_them(export: str, data: st.DataObject) -> None:
    form, settled = export.partition(",")[0], EXPORTS[export]
    plan = compile_text(f'{RECIPE}export train: {form} from talk to "out" {{ {settled} }}\n').plan
    cohort = plan.cohort("talk")
    story = Story(plan)
    for slot in all_slots(plan, "talk"):
        values: dict[str, Any] = {step.name: data.draw(TEXTS) for step in cohort.steps}
        thoughts = data.draw(st.dictionaries(st.sampled_from(["answer", "closing"]), TEXTS, max_size=2))
        story.complete(cohort, slot, values | {"note": {"about": data.draw(TEXTS)}}, thoughts=thoughts)
    with TemporaryDirectory() as folder, Log(story.write(Path(folder) / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, Path(folder))
        layout = Layout.of(plan, plan.exports[0])
        sides: dict[str, list[str]] = {name: [] for name in dataset.rows}
        for side, said in exported(plan, log, plan.exports[0]):
            sides[side] += [line for _, line in as_lines(layout.conversation(said))]
        for side, lines in sides.items():
            written = (dataset.folder / f"{side}.jsonl").read_bytes()
            assert written == "".join(f"{line}\n" for line in lines).encode()


def test_the_manifest_counts_what_the_database_put_together(tmp_path: Path) -> None:
    plan = compile_text(f'{RECIPE}export train: messages from talk to "out"\n').plan
    cohort, story = plan.cohort("talk"), Story(plan)
    slots = all_slots(plan, "talk")
    for slot in slots[:-2]:
        story.complete(cohort, slot, {step.name: "Yes." for step in cohort.steps} | {"note": {"about": ""}})
    story.start("1")
    for slot in slots[-2:-1]:
        story.complete(cohort, slot, {step.name: "\x1b" for step in cohort.steps} | {"note": {"about": ""}})
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path, partial=True)
    kinds = Counter(dict(slot.cell.labels)["kind"] for slot in slots[:-1])
    assert dataset.manifest["counts"] == {"kind": dict(kinds)}
    assert {tuple(cell["cell"].values()): cell["samples"] for cell in dataset.manifest["cells"]} == {
        (kind,): count for kind, count in kinds.items()
    }
    author = {"model": "base", "identity": IDENTITY, "engine": "simulated", "rows": 8}
    assert dataset.manifest["written_by"] == {
        "ask": [],
        "answer": [author],
        "note": [author],
        "more": [],
        "closing": [author],
    }
