"""Recipes with evaluations, logs that hold known rows, and what `synth evaluate` says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.runtime.evaluation.items import Items
from synth.store.log.log import Log
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, synth
from tests.store.log.logs import Story, all_slots

HEAD = """edition 1

recipe measured { seed = 5 }

model writer: model<chat, json> from openai("writer")

"""

# Ten questions with an answer each, half of them held out.
DIRECT = """
conversation direct times 10 {
  turn ask: user = "Question {{ nth }}?"
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}

export train: messages from direct to "out/train" { split = 50% }
"""

COMMANDS = """
schema Command { action: text(1..60) }

conversation commands times 20 {
  turn ask: user = "Command {{ nth }}"
  turn answer: model by writer { prompt = "{{ ask }}", produces: json<Command> }
  train_on = [answer]
}
"""

GOOD = '{"action":"open"}'
TRAIN = """
export train: messages from commands to "out/train" { split = 50% }
"""
STUDENT = ("--student", "openai:tuned")


@dataclass(frozen=True, slots=True)
class Project:
    """A recipe in a folder of its own, and its log."""

    folder: Path
    plan: Plan

    @property
    def recipe(self) -> Path:
        return self.folder / "made.recipe"

    @property
    def log(self) -> Path:
        return self.folder / "synth.duckdb"

    def tell(
        self, answers: Mapping[str, Iterable[Any]], story: Story | None = None, ask: str = "Question"
    ) -> list[str]:
        """A log in which each conversation was made to the end, with these answers in slot order;
        what each was asked is its question and number.  Gives the rows' ids."""
        story, names = story or Story(self.plan), []
        for name, said in answers.items():
            for number, (slot, answer) in enumerate(zip(all_slots(self.plan, name), said, strict=False)):
                values = {"ask": f"{ask} {number + 1}?", "answer": answer}
                names.append(story.complete(self.plan.cohort(name), slot, values))
        story.write(self.log)
        return names

    def evaluate(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Result:
        return synth("evaluate", self.recipe, *arguments, cwd=self.folder, env=env)

    def measures(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, status: int | None = None
    ) -> dict[tuple[str, ...], dict[str, Any]]:
        """What is measured, by measure, whose it is and who judges it, if anybody."""
        result = self.evaluate(*arguments, "--json", env=env)
        assert result.status in ((0, 3) if status is None else (status,)), result.err
        found = [each for evaluation in result.json()["evaluations"] for each in evaluation["measures"]]
        return {tuple(filter(None, (each["measure"], each["of"], each["by"]))): each for each in found}


def project(folder: Path, text: str, head: str = HEAD) -> Project:
    """Writes a recipe and compiles it."""
    (folder / "synth.toml").write_text("", "utf-8")
    (folder / "made.recipe").write_text(head + text, "utf-8")
    return Project(folder, compile_file(folder / "made.recipe").plan)


def evaluation(*measures: str, of: str = "train", name: str = "quality") -> str:
    return f"\nevaluation {name} of {of} {{\n" + "".join(f"  {each}\n" for each in measures) + "}\n"


def served(server: OpenAIServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}


def asked_about(server: OpenAIServer) -> list[str]:
    """What the user said last in each request."""
    return [received.body["messages"][-1]["content"] for received in server.received]


def values(found: Mapping[Any, Mapping[str, Any]], *names: str) -> tuple[Any, Any]:
    """The value and the number judged of one measure."""
    each = found[names]
    return each["value"], each["judged"]


def held_out(made: Project) -> list[str]:
    """What the user asks in the rows that a student is asked about."""
    with Log(made.log) as log:
        return [item.asked[-1]["content"] for item, asked in Items(made.plan, log, "train").read() if asked]
