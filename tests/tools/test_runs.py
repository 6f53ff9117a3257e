"""Turns with tools in runs: what is asked, told, refused, logged and replayed, whatever fails."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import Calling, always, one_by_one, spoilt, together
from tests.kit.support import SOAK, query
from tests.rows.project import Project, kill_runs

KILLS = 20 if SOAK else 3
FAULTS = FaultPlan({"server_error": 0.04, "drop": 0.03, "cut": 0.03, "slow": 0.2}, slow=0.02)
LIB = '''
import os, time
from pathlib import Path


def lookup(number: str, days: int, calls: list[dict[str, object]]) -> dict[str, str]:
    """The order's state.

    number: as it stands on the bill
    """
    with open(Path(__file__).parent / "ran", "a") as file:
        file.write(number + "\\n")
    return {"state": f"{days} days late", "before": str(len(calls))}


def odd(kind: str, id: str) -> str:
    """Does odd things."""
    faults = {
        "raises": lambda: 1 / 0,
        "hangs": lambda: time.sleep(60),
        "exits": lambda: os._exit(3),
        "prints": lambda: print("x" * 100_000, flush=True),
        "much": lambda: "z" * (1 << 21),
        "nan": lambda: float("nan"),
    }
    return faults.get(kind, lambda: "fine")() or "fine"


def few(calls: list[dict[str, object]], most: int) -> str | None:
    return None if len(calls) <= most else f"{len(calls)} calls are more than {most}"
'''
HEAD = """edition 1
recipe tools { seed = 5 }

use lib from "lib/lib.py"

model one: model<chat, json, tools> from openai("one")

schema Ticket { id: text, body: text }
source tickets: Ticket from jsonl("rows.jsonl", id = "id")

tool lookup by lib.lookup
tool odd by lib.odd
## Searches the wiki.
tool wiki: text by one {
  ## What to look for.
  query: text(1..200)
  body: text
  prompt = "Wiki of {{ body }}: {{ query }}"
}

"""
TALK = """
conversation talk over ticket in tickets {
  draw days from [1, 2, 3]
  turn ask: user = "{{ ticket.body }}"
  turn reply: model by one {
    sees = transcript
    tools = [lookup(days = days), wiki(body = ticket.body)]
    max_tool_calls = 5
    retry = 6
  }
  turn more: user by one { sees = transcript, prompt = "You are the customer." }
  turn last: model by one { sees = transcript, tools = [lookup(days = days)], retry = 6 }
}

export sft: messages from talk to "out/sft" { columns { ticket = talk.ticket.id } }
"""


class Tools(Project):
    def __init__(self, folder: Path, recipe: str, count: int) -> None:
        super().__init__(folder, HEAD + recipe, ({"id": f"t{n}", "body": f"order {n}"} for n in range(count)))
        (folder / "lib").mkdir()
        (folder / "lib/lib.py").write_text(LIB)
        (folder / "synth.toml").write_text("[functions]\nseconds = 0.4\nworkers = 2\n")

    def events(self, kind: str, step: str = "%") -> list[dict[str, Any]]:
        found = query(
            self.log,
            "SELECT payload FROM events WHERE kind = ? AND coalesce(step, '') LIKE ? ORDER BY seq",
            [kind, step],
        )
        return [json.loads(payload) for (payload,) in found]

    def values(self) -> dict[str, dict[str, Any]]:
        """The accepted values of each sample that was completed."""
        found = query(self.log, "SELECT sample_id, payload FROM events WHERE kind = 'sample.completed'")
        return {name: json.loads(payload)["values"] for name, payload in found}


def test_a_turn_calls_its_tools_and_then_speaks(tmp_path: Path) -> None:
    project = Tools(tmp_path, TALK, 3)
    with OpenAIServer() as at:
        assert project.ran(at) == 3 * (3 + 1 + 1 + 2), "an answer for each call, the wiki's among them"
        asked = at.total
        assert project.ran(at) == 0
        assert at.total == asked
    for values in project.values().values():
        looked, searched = values["reply.calls"]
        assert (looked["name"], searched["name"]) == ("lookup", "wiki")
        assert (looked["message"], searched["message"]) == (0, 1)
        assert looked["arguments"].keys() == {"number"}, "what the sample fills is not the model's to say"
        assert looked["result"]["before"] == "0"
        assert isinstance(searched["result"], str)
        assert [each["name"] for each in values["last.calls"]] == ["lookup"]
    last = project.events("call.completed", "last")[-1]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["user", "model", "tool", "model", "tool", "model", "user", "model", "tool"]
    told = [message for message in last["messages"] if message["role"] == "tool"]
    assert json.loads(told[0]["content"]) == looked["result"]
    assert told[1]["content"] == searched["result"]
    # The user sees what was said to it, and no more.
    user = project.events("call.completed", "more")[-1]
    assert [message["role"] for message in user["messages"]] == ["user", "model", "user"]
    project.materialize()
    project.holds()


def at_odds(asked: Asked) -> str | Calling:
    """One call in six is of a tool that there is not, or has arguments that are no JSON; which follows
    from what was asked."""
    given, drawn = one_by_one(asked), int(asked.key[:8], 16) % 12
    if isinstance(given, str):
        return given
    return spoilt(given, {0: "unknown_tool", 1: "bad_arguments"}.get(drawn))


def test_kills_and_faults_amid_calls_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    found = []
    for name in ("whole", "killed"):
        project = Tools(tmp_path / name, TALK, 20)
        faults = FAULTS if name == "killed" else replace(FAULTS, slow=0.0)
        with OpenAIServer(answer=at_odds, faults=faults, latency_s=0.005 if name == "killed" else 0.0) as at:
            if name == "killed":
                kill_runs(project, at, KILLS, 160, seed=3)
            project.ran(at)
            asked = at.total
            assert project.ran(at) == 0
            assert at.total == asked
        project.materialize("--threads", "1" if name == "whole" else "4")
        found.append((project.digests(), project.values()))
        keys = Counter(each["call_key"] for each in project.events("call.completed"))
        assert max(keys.values()) == 1, "no answer is paid for twice"
        done = Counter(each["key"] for each in project.events("tool.done"))
        assert max(done.values()) == 1
        project.holds()
    assert found[0] == found[1]
    assert len(found[0][1]) == 20
    refused = {each["check"] for each in project.events("step.rejected")}
    assert "tool_calls" in refused, "arguments that are no JSON refuse their attempt"
    unknown = [each for each in project.events("tool.done") if "there is no tool" in each.get("fault", "")]
    assert unknown
    assert "the tools are lookup" in unknown[0]["fault"]


ODD = """
conversation talk over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn reply: model by one { sees = transcript, tools = [odd(id = ticket.id)], max_tool_calls = 9 }
}

export sft: messages from talk to "out/sft" { }
"""
_KINDS = ("raises", "hangs", "exits", "prints", "much", "nan", "plain")


def _odd(asked: Asked) -> str | Calling:
    """Asks for everything that goes wrong, in one message, and for what does not exist or fit."""
    if asked.called:
        return f"It came to {len(asked.results)} answers."
    odd = [("odd", {"kind": kind}) for kind in _KINDS]
    return Calling((*odd, ("refund", {"kind": "x"}), ("odd", {"sort": "y"})), said="One moment.")


def test_whatever_a_tool_does_is_told_and_costs_no_sample(tmp_path: Path) -> None:
    project = Tools(tmp_path, ODD, 2)
    with OpenAIServer(answer=_odd) as at:
        project.ran(at)
        asked = at.total
        assert project.ran(at) == 0, "a time-out that was told is not tried again"
        assert at.total == asked
    (values, _) = project.values().values()
    called = values["reply.calls"]
    assert called[0]["content"] == "One moment."
    assert {each["message"] for each in called} == {0}
    faults = [each.get("fault", each.get("result")) for each in called]
    assert faults[0] == "raised ZeroDivisionError: division by zero"
    assert faults[1] == "took longer than 0.4 s"
    assert "ended its process" in faults[2]
    assert faults[3] == "fine"
    assert "1 MiB is the most" in faults[4]
    assert "nan" in faults[5]
    assert faults[6] == "fine"
    assert faults[7] == "there is no tool `refund`; the tools are odd"
    assert "there is no argument `sort`" in faults[8]
    assert values["reply"] == "It came to 9 answers."
    shown = project.events("call.completed", "reply")[-1]["messages"]
    assert json.loads(shown[2]["content"]) == {"error": "raised ZeroDivisionError: division by zero"}
    project.materialize()
    # Neither the functions nor the service is there any more.
    (tmp_path / "lib/ran").unlink(missing_ok=True)
    project.holds()
    assert not (tmp_path / "lib/ran").exists()


def test_a_call_beyond_the_bound_refuses_the_attempt(tmp_path: Path) -> None:
    recipe = TALK.replace("max_tool_calls = 5", "max_tool_calls = 2").replace("retry = 6", "retry = 1")
    project = Tools(tmp_path, recipe, 1)
    with OpenAIServer(answer=always) as at:
        assert project.run(at).status == 3
    rejected = project.events("step.rejected")
    assert [each["check"] for each in rejected] == ["max_tool_calls"] * 2
    assert rejected[0]["reason"] == "calls a tool more than 2 times: `lookup`, `lookup`, `lookup`"
    assert len(project.events("tool.done")) == 4, "those before it were answered"
    together_ = Tools(tmp_path / "together", recipe, 1)
    with OpenAIServer(answer=together) as at:
        assert together_.ran(at) > 0
    assert {each["message"] for each in next(iter(together_.values().values()))["reply.calls"]} == {0}


CHECKED = """
rubric quality by one { helpful 1..5 = "Does it help?" }

conversation talk over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn reply: model by one {
    sees = transcript
    tools = [lookup(days = 2)]
    candidates = 3
    check { lib.few(reply.calls, 1) }
    marks = quality
    pick = best
  }
  turn thanks: user = "Thanks for {{ reply.calls | json }}"
  turn last: model by one { sees = transcript }
}

export sft: messages from talk to "out/sft" { columns = [talk.reply.calls] }
"""


def test_calls_are_checked_marked_and_quoted(tmp_path: Path) -> None:
    def answer(asked: Asked) -> str | Calling | Raw:
        if asked.schema is not None:
            return json.dumps({"helpful": {"why": "so", "mark": 3}})
        if asked.tools and int(asked.key[:4], 16) % 3 == 0 and len(asked.called) < 2:
            return Calling((("lookup", {"number": f"A{len(asked.called)}"}),))
        return one_by_one(asked)

    project = Tools(tmp_path, CHECKED, 6)
    with OpenAIServer(answer=answer) as at:
        done = project.run(at)
    assert done.status == 0, done.err
    for values in project.values().values():
        assert len(values["reply.calls"]) == 1
        assert values["thanks"].startswith('Thanks for [{"')
    rejected = project.events("step.rejected", "reply")
    assert {each["check"] for each in rejected} <= {"lib.few", "few"}
    assert rejected
    (judged, *_) = project.events("call.completed", "reply.quality")
    asked = judged["messages"][-1]["content"]
    assert 'model: calls lookup({"number":' in asked
    assert "tool: {" in asked
    project.materialize()
    project.holds()


def test_only_what_depends_on_a_changed_tool_is_made_anew(tmp_path: Path) -> None:
    project = Tools(tmp_path, TALK, 4)
    with OpenAIServer() as at:
        first = project.ran(at)
        library = tmp_path / "lib/lib.py"
        library.write_text("# A comment changes nothing.\n" + LIB)
        assert project.ran(at) == 0
        library.write_text(LIB.replace("days late", "days too late"))
        again = project.ran(at)
        assert 0 < again < first, "the answers before the changed result stand"
        library.write_text(LIB.replace("days late", "days too late").replace("The order's", "An order's"))
        assert project.ran(at) > again, "a model is told of a tool by its doc"
        project.materialize()
    assert len(project.rows()) == 4


@pytest.mark.parametrize("at_once", [False, True])
def test_what_a_changed_tool_costs_is_foreseen(tmp_path: Path, at_once: bool) -> None:
    """Both what is asked anew and what is shown its answer; what was said before is in the log."""
    project = Tools(tmp_path, TALK.partition("  turn more")[0] + "}\n", 2)
    library, recipe = tmp_path / "lib/lib.py", tmp_path / "rows.recipe"
    written = recipe.read_text()
    with OpenAIServer(answer=together if at_once else one_by_one) as at:
        project.ran(at)
        for text, python in (
            (written.replace("Wiki of", "A wiki of"), LIB),
            (written.replace("days = days", "days = 9"), LIB),
            (written, LIB.replace("days late", "days too late")),
            (written, LIB.replace("as it stands", "as it is")),
            (written, LIB),
        ):
            recipe.write_text(text)
            library.write_text(python)
            found = project.synth("compile", "rows.recipe", "--log", "synth.duckdb", "--json")
            assert found.status == 0, found.err
            beyond = found.json()["calls"] - project.ran(at)
            # Of several calls in one message those behind the first that is missed count as missed.
            assert 0 <= beyond <= (2 if at_once else 0), (text, python)


def test_a_simulation_calls_each_tool_once(tmp_path: Path) -> None:
    project = Tools(tmp_path, TALK, 5)
    done = project.synth("run", "rows.recipe", "--simulate")
    assert done.status == 0, done.err
    for values in project.values().values():
        assert [each["name"] for each in values["reply.calls"]] == ["lookup", "wiki"]
    assert not (tmp_path / "lib/ran").exists(), "no function is run"
    project.materialize()
    project.holds()


def test_the_story_of_a_sample_tells_calls_and_answers(tmp_path: Path) -> None:
    project = Tools(tmp_path, TALK, 1)
    with OpenAIServer() as at:
        project.ran(at)
    (name,) = project.values()
    told = project.synth("show", name, "--log", "synth.duckdb").out
    assert "> calls lookup({" in told
    assert "reply, attempt 1: tool `lookup` answers" in told
    assert "| tool lookup: {" in told


def test_what_is_forgotten_is_gone_from_calls_and_results(tmp_path: Path) -> None:
    project = Tools(tmp_path, TALK, 3)
    with OpenAIServer() as at:
        project.ran(at)
    number = next(iter(project.values().values()))["reply.calls"][0]["arguments"]["number"]
    done = project.synth("forget", "--matching", number, "--log", "synth.duckdb", "--out", "new.duckdb")
    assert done.status == 0, done.err
    left = query(tmp_path / "new.duckdb", "SELECT payload FROM events WHERE contains(payload, ?)", [number])
    assert left == []
