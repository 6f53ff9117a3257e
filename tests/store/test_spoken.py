"""Turns that think before they speak, and the passages that rows open with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.strata import slots
from synth.compiler.plan.tables.environment import environment
from synth.runtime.calls.prompt import messages_for
from synth.runtime.cohorts.dedup import Deduplicator
from synth.runtime.samples.sample import Sample
from synth.store.dataset.materialize import materialize
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots

RECIPE = """edition 1
recipe telling { seed = 5 }
model base: model<chat, json, template> from pocket()
source docs: chunk from folder("docs")
schema Reply { thought: text?, content: text }
schema Command { content: text, urgent: boolean }
conversation grounded times 2 {
  let evidence = retrieve(docs, query = "fees")
  turn question: user = "What does it cost?"
  turn answer: model by base {
    prompt = "{{ evidence | numbered }} {{ question }}"
    produces: json<Reply>
    check {
      length(1..40)
      distinct(similarity = 0.9)
    }
    retry = 1
  }
  turn thanks: user = "And in words: {{ answer.content }}?"
  turn closing: model by base { sees = transcript, produces: json<Command> }
  train_on = [answer]
}
preference better from grounded {
  rejected = attempts(grounded.answer)
  chosen = grounded.answer
}
"""
CHUNKS = [
    {
        "id": "1",
        "document": "a.md",
        "heading": "",
        "text": "A semester costs 5.",
        "metadata": {},
        "score": 1.0,
    },
    {
        "id": "2",
        "document": "b.md",
        "heading": "",
        "text": "[x] A room costs\n\n7.",
        "metadata": {},
        "score": 0.5,
    },
]
ANSWER = {"thought": "The first passage says 5.", "content": "It costs 5."}
VALUES: dict[str, Any] = {
    "evidence": CHUNKS,
    "question": "What does it cost?",
    "answer": ANSWER,
    "thanks": "And in words: It costs 5.?",
    "closing": {"content": "Five.", "urgent": False},
}
OPENING = "[1] A semester costs 5.\n\n[2] [x] A room costs\n\n7."


def plan_of(export: str) -> Plan:
    return compile_text(RECIPE + export).plan


def made(
    plan: Plan,
    folder: Path,
    values: dict[str, Any] = VALUES,
    refused: str = '{"thought":"5?","content":"Five."}',
) -> Path:
    story = Story(plan)
    for slot in all_slots(plan, "grounded"):
        story.complete(plan.cohort("grounded"), slot, values, refused={"answer": [(refused, "length")]})
    with Log(story.write(folder / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, folder)
    return dataset.folder


@pytest.mark.parametrize("thought", ["strip", "keep", "wrap"])
def test_what_thinks_says_its_content_and_other_json_itself(tmp_path: Path, thought: str) -> None:
    plan = plan_of(f'export train: messages from grounded to "out" {{ thought = {thought} }}')
    row = rows(made(plan, tmp_path) / "train.jsonl")[0]
    wrapped = "<think>The first passage says 5.</think>\n\nIt costs 5."
    answer = {"role": "assistant", "content": wrapped if thought == "wrap" else "It costs 5.", "weight": 1}
    if thought == "keep":
        answer["thought"] = "The first passage says 5."
    assert row["messages"] == [
        {"role": "user", "content": "What does it cost?", "weight": 0},
        answer,
        {"role": "user", "content": "And in words: It costs 5.?", "weight": 0},
        {"role": "assistant", "content": '{"content":"Five.","urgent":false}', "weight": 0},
    ]


def test_a_thought_that_was_left_out_is_none(tmp_path: Path) -> None:
    plan = plan_of('export train: messages from grounded to "out" { thought = keep }')
    values = {**VALUES, "answer": {"content": "It costs 5."}}
    row = rows(made(plan, tmp_path, values) / "train.jsonl")[0]
    assert row["messages"][1] == {"role": "assistant", "content": "It costs 5.", "weight": 1}


def test_a_later_turn_sees_what_was_said(tmp_path: Path) -> None:
    cohort = plan_of("").cohort("grounded")
    shown = messages_for(cohort, cohort.step("closing"), VALUES)
    assert [(message.role, message.content) for message in shown] == [
        ("user", "What does it cost?"),
        ("model", "It costs 5."),
        ("user", "And in words: It costs 5.?"),
    ]


def test_samples_are_compared_by_what_is_said() -> None:
    plan = plan_of("")
    cohort = plan.cohort("grounded")
    first, second = slots(plan, cohort)
    deduplicator = Deduplicator(cohort)
    for number, (slot, thought) in enumerate(((first, "One."), (second, "Something else altogether."))):
        sample = Sample(cohort, slot, f"{number:016x}", number, environment(cohort, slot))
        sample.values.update(VALUES, answer={"thought": thought, "content": "It costs 5."})
        deduplicator.expect((0, number, ()))
        deduplicator.arrived((0, number, ()), sample)
    verdicts = [refusal for _, _, refusal in deduplicator.verdicts()]
    assert verdicts[0] is None
    assert verdicts[1] is not None
    assert verdicts[1][0] == "answer"


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_the_passages_open_a_row(tmp_path: Path, format_: str) -> None:
    plan = plan_of(
        'export train: messages from grounded to "out" { context = grounded.evidence, '
        f"columns = [grounded.evidence], format = {format_} }}"
    )
    folder = made(plan, tmp_path)
    found = duckdb.execute(f"SELECT * FROM '{folder}/train.{format_}'").fetchall()
    columns = dict(zip(("id", "messages", "evidence"), found[0], strict=True))
    assert columns["messages"][0] == {"role": "system", "content": OPENING, "weight": 0}
    assert [message["role"] for message in columns["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    evidence = columns["evidence"]
    assert (json.loads(evidence) if isinstance(evidence, str) else evidence)[1]["document"] == "b.md"


def test_they_open_a_prompt_and_a_conversation_of_the_other_forms(tmp_path: Path) -> None:
    for form in ("prompt_completion", "sharegpt"):
        (tmp_path / form).mkdir()
        plan = plan_of(f'export train: {form} from grounded to "out" {{ context = grounded.evidence }}')
        row = rows(made(plan, tmp_path / form) / "train.jsonl")[0]
        if form == "sharegpt":
            assert row["conversations"][0] == {"from": "system", "value": OPENING, "weight": 0}
            assert row["conversations"][2] == {"from": "gpt", "value": "It costs 5.", "weight": 1}
        else:
            assert row["prompt"] == [
                {"role": "system", "content": OPENING, "weight": 0},
                {"role": "user", "content": "What does it cost?", "weight": 0},
            ]
            assert row["completion"] == [{"role": "assistant", "content": "It costs 5.", "weight": 1}]


@pytest.mark.parametrize(
    ("refused", "content", "thought"),
    [
        ('{"thought":"5?","content":"Five."}', "Five.", "5?"),
        ('{"content":"Five."}', "Five.", None),
        ('{"content": ["Five."]}', '["Five."]', None),
        ('{"thought":"5?"', '{"thought":"5?"', None),
        ('{"thought":"5?"}', '{"thought":"5?"}', None),
        ('["content"]', '["content"]', None),
        ('"content"', '"content"', None),
        ("Five.", "Five.", None),
    ],
)
def test_refused_attempts_are_read_in_the_same_way_where_they_can_be(
    tmp_path: Path, refused: str, content: str, thought: str | None
) -> None:
    expected: dict[str, Any] = {"role": "assistant", "content": content}
    if thought is not None:
        expected["thought"] = thought
    for form, source in (("rejected", "grounded"), ("preference", "better")):
        (tmp_path / form).mkdir()
        plan = plan_of(f'export train: {form} from {source} to "out" {{ thought = keep }}')
        row = rows(made(plan, tmp_path / form, refused=refused) / "train.jsonl")[0]
        assert row["completion" if form == "rejected" else "rejected"] == [expected]
        if form == "preference":
            assert row["chosen"] == [
                {"role": "assistant", "content": "It costs 5.", "thought": "The first passage says 5."}
            ]
