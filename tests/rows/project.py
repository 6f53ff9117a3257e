"""A project whose conversations are over rows, and the server that answers for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, query, rows, started, synth

FAULTS = FaultPlan(
    {"rate_limit": 0.03, "server_error": 0.03, "drop": 0.02, "cut": 0.02, "garbled": 0.01, "slow": 0.1},
    retry_after=0.01,
    slow=0.02,
)
SLOW_AT_TIMES = FaultPlan({"slow": 0.5, "drop": 0.05}, seed=1, slow=0.04)
# A service refuses what has this word in it, each time.
FORBIDDEN = "gunpowder"


def answered(asked: Asked) -> str | Raw:
    """An answer that follows from what was asked, or a refusal for good."""
    text = asked.messages[-1][1]
    if FORBIDDEN in text:
        error = {"message": "refused by the content filter", "type": "invalid_request_error"}
        return Raw({"error": {**error, "param": None, "code": "content_filter"}}, 400)
    return f"Answer {asked.key[:10]} to: {text[:60]}"


def server(*, faults: FaultPlan = FAULTS, **options: Any) -> OpenAIServer:
    return OpenAIServer(answer=options.pop("answer", answered), faults=faults, **options)


def numbered(number: int, **fields: Any) -> dict[str, Any]:
    """The row of a number; one in 25 is refused."""
    word = FORBIDDEN if number % 25 == 3 else "parcel"
    return {"id": f"t{number}", "body": f"{word} number {number}", "licence": "cc0", **fields}


HEAD = """edition 1
recipe rows { seed = 5 }

model one: model<chat> from openai("one")

schema Ticket {
  id: text
  body: text
  licence: text?
}

source tickets: Ticket from jsonl("rows.jsonl", id = "id")
"""
PLAIN = """
conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn answer: model by one { sees = transcript }
}

export sft: messages from answered to "out/sft" {
  columns {
    ticket = answered.ticket.id
    licence = answered.ticket.licence
  }
}
"""
DRAWN = """
set moods: topic {
  calm { about = "calm" }
  odd { about = "odd" }
  sad { about = "sad" }
}

conversation answered over ticket in tickets {
  draw mood from moods
  turn ask: user = "{{ ticket.body }} {{ mood.about }}"
  turn answer: model by one { sees = transcript }
}

export sft: messages from answered to "out/sft" {
  columns {
    ticket = answered.ticket.id
    licence = answered.ticket.licence
    mood = answered.mood
  }
}
"""


def counted(recipe: str, count: int) -> str:
    """The same with so many samples of rows."""
    return recipe.replace("answered over", f"answered {count} over")


def write(path: Path, made: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")


class Project:
    """A folder with a recipe and a table; what its commands say, and how many calls they made."""

    def __init__(self, folder: Path, recipe: str, table: Iterable[Mapping[str, Any]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # Every command has the last run's addresses.
        self._served: dict[str, str] = {}
        self.recipe(recipe)
        self.table(table)

    def recipe(self, text: str) -> None:
        (self.folder / "rows.recipe").write_text(text, "utf-8")

    def table(self, made: Iterable[Mapping[str, Any]]) -> None:
        write(self.folder / "rows.jsonl", made)

    @property
    def log(self) -> Path:
        return self.folder / "synth.duckdb"

    def run(self, at: OpenAIServer, *options: str) -> Result:
        self._served = served(at)
        return self.synth("run", "rows.recipe", *options)

    def ran(self, at: OpenAIServer, *options: str) -> int:
        """Runs to the end; gives how many answers were logged."""
        before = self.calls
        done = self.run(at, *options)
        assert done.status == 0, done.err
        return self.calls - before

    @property
    def calls(self) -> int:
        if not self.log.exists():
            return 0
        ((found,),) = query(self.log, "SELECT count(*) FROM events WHERE kind = 'call.completed'")
        return int(found)

    def foreseen(self) -> int:
        done = self.synth("compile", "rows.recipe", "--log", "synth.duckdb", "--json")
        assert done.status == 0, done.err
        return int(done.json()["calls"])

    def synth(self, *arguments: str) -> Result:
        return synth(*arguments, cwd=self.folder, env=self._served)

    def materialize(self, *options: str) -> Result:
        done = self.synth("materialize", "rows.recipe", *options)
        assert done.status == 0, done.err
        return done

    def rows(self, name: str = "sft", split: str = "train") -> list[dict[str, Any]]:
        return rows(self.folder / "out" / name / f"{split}.jsonl")

    def digests(self) -> dict[str, str]:
        found = sorted((self.folder / "out").rglob("*.jsonl"))
        return {str(path.relative_to(self.folder)): sha256(path.read_bytes()).hexdigest() for path in found}

    def manifest(self, name: str = "sft") -> Any:
        return json.loads((self.folder / "out" / name / "manifest.json").read_text("utf-8"))

    def holds(self, *names: str) -> None:
        """Replay and verify agree."""
        done = self.synth("replay", "rows.recipe")
        assert done.status == 0, done.err + done.out
        for name in names or ("sft",):
            done = self.synth("verify", f"out/{name}", "--log", "synth.duckdb")
            assert done.status == 0, done.err + done.out


def served(at: OpenAIServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": at.base_url, "OPENAI_API_KEY": "k"}


def kill_runs(project: Project, at: OpenAIServer, kills: int, needed: int, seed: int) -> None:
    """Starts runs and kills each with -9, after some of `needed` calls more."""
    random = Random(seed)
    for _ in range(kills):
        moment = at.total + random.randint(1, max(1, needed // (kills + 1)))
        with started("run", "rows.recipe", cwd=project.folder, env=served(at)) as process:
            while at.total < moment and process.poll() is None:
                time.sleep(0.002)
            time.sleep(random.random() * 0.03)
            process.kill()
