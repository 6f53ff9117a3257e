"""Attempts with tools that a run refused are whole traces in its rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import Calling, one_by_one
from tests.kit.support import rows
from tests.tools.test_runs import Tools

RECIPE = """
conversation talk over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn reply: model by one {
    sees = transcript
    tools = [lookup(days = 2)]
    max_tool_calls = 2
    check { length(1..60) }
    retry = 2
  }
}
preference found from talk {
  chosen = talk.reply
  rejected = attempts(talk.reply)
}
export pairs: preference from found to "out/pairs"
export refused: rejected from talk to "out/refused"
export labelled: unpaired from talk to "out/labelled"
export each: prompt_completion from talk to "out/each"
"""


def test_a_refused_attempt_has_what_it_called_and_was_told(tmp_path: Path) -> None:
    tried = Counter[str]()

    def answer(asked: Asked) -> str | Calling:
        """Of order 0 the first attempt says too much; of order 1 it calls without an end."""
        ask = next(text for role, text in asked.messages if role == "user")
        if not asked.called:
            tried[ask] += 1
        if tried[ask] == 1 and ask == "order 1":
            return Calling((("lookup", {"number": "again"}),))
        if isinstance(given := one_by_one(asked), Calling):
            return given
        return "Much too much is said of it here. " * 3 if tried[ask] == 1 else "It is late."

    project = Tools(tmp_path, RECIPE, 2)
    with OpenAIServer(answer=answer) as at:
        project.ran(at)
    project.materialize()

    def shape(messages: list[dict[str, Any]]) -> list[str]:
        return [f"{each['role']}{len(each.get('tool_calls', ())) or ''}" for each in messages]

    found = {tuple(shape(row["rejected"])): row for row in rows(tmp_path / "out/pairs/train.jsonl")}
    assert set(found) == {
        ("assistant1", "tool", "assistant"),
        ("assistant1", "tool", "assistant1", "tool", "assistant1"),
    }
    for row in found.values():
        assert shape(row["prompt"]) == ["user"]
        assert shape(row["chosen"]) == ["assistant1", "tool", "assistant"]
        assert row["tools"][0]["function"]["name"] == "lookup"
    refused = rows(tmp_path / "out/refused/train.jsonl")
    assert {row["check"] for row in refused} == {"length", "max_tool_calls"}
    labelled = rows(tmp_path / "out/labelled/train.jsonl")
    assert Counter(row["label"] for row in labelled) == {True: 2, False: 2}
    assert all(row["completion"] for row in labelled)
    each = rows(tmp_path / "out/each/train.jsonl")
    assert [shape(row["prompt"]) for row in each] == [["user"], ["user", "assistant1", "tool"]] * 2
    project.holds("pairs", "refused", "labelled", "each")
