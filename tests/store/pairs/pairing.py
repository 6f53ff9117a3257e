"""A recipe whose preferences are made, stories of what was logged of it, and the datasets of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Attempt, Story, all_slots

RECIPE = """edition 1
recipe pairing { seed = 5 }

model base: model<chat, json> from simulated()

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
  sky { about = "clouds" }
}

conversation direct over subject in subjects times 4 {
  turn greeting: user = "Hello."
  turn reply: model by base { prompt = "{{ greeting }}" }
  turn ask: user = "What of {{ subject.about }}?"
  turn answer: model by base {
    prompt = "{{ ask }}"
    check { length(1..40) }
    retry = 3
  }
  tags = ["short"]
}

preference made COUNT from direct {
  turn padded: model by base { prompt = "Pad: {{ direct.ask }}" }
  chosen = direct.answer
  rejected = padded
}

preference found COUNT from direct {
  chosen = direct.answer
  rejected = attempts(direct.answer)
}

export train: preference from NAME to "out/train"
"""


def plan_of(name: str, quota: int | None = None) -> Plan:
    count = "" if quota is None else str(quota)
    return compile_text(RECIPE.replace("COUNT", count).replace("NAME", name)).plan


def values(number: int) -> dict[str, str]:
    return {"greeting": "Hello.", "reply": "Hi.", "ask": "What?", "answer": f"Answer {number}."}


def told(
    plan: Plan, refused: Mapping[int, Sequence[str]] | None = None, without: Sequence[int] = ()
) -> Story:
    """All samples are made, save those `without`; some refuse attempts at their answer."""
    story = Story(plan)
    cohort = plan.cohort("direct")
    for slot in all_slots(plan, "direct"):
        attempts: list[Attempt] = [(text, "length") for text in (refused or {}).get(slot.position, ())]
        if slot.position not in without:
            story.complete(
                cohort, slot, values(slot.position), refused={"answer": attempts} if attempts else None
            )
    return story


def paired(plan: Plan, numbers: Sequence[int], story: Story | None = None) -> Story:
    """Some samples have a pair."""
    story = story or told(plan)
    slots = all_slots(plan, "direct")
    for number in numbers:
        story.pair("made", slots[number], {"padded": f"Well, answer {number}!"})
    return story


def made(story: Story, plan: Plan, folder: Path, **options: Any) -> Dataset:
    log = folder / "log.duckdb"
    if not log.exists():
        story.write(log)
    with Log(log) as opened:
        (dataset,) = materialize(plan, opened, folder, **options)
    return dataset


def read(dataset: Dataset) -> list[dict[str, Any]]:
    return [row for name in dataset.rows for row in rows(dataset.folder / f"{name}.jsonl")]


def numbers(dataset: Dataset) -> list[int]:
    """The slots that pairs are of, by their chosen answers."""
    return [int(row["chosen"][0]["content"].strip("Answer .")) for row in read(dataset)]
