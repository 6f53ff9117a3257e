"""Whole runs with tools on engines of each kind: Gemini's protocol with its faults, and a real model that
calls by its chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.models.fixtures import needs
from tests.kit.models.tiny_caller import build
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import together
from tests.kit.support import rows, synth
from tests.tools.test_runs import Tools

RECIPE = """
conversation talk over ticket in tickets {
  draw days from [1, 2]
  turn ask: user = "{{ ticket.body }}"
  turn reply: model by one { sees = transcript, tools = [lookup(days = days)], max_tool_calls = 3, retry = 6 }
  turn thanks: user = "Thanks."
  turn last: model by one { sees = transcript, tools = [lookup(days = days)], max_tool_calls = 3, retry = 6 }
}

export sft: messages from talk to "out/sft" { columns { ticket = talk.ticket.id } }
"""
OF_SERVICE: Sequence[Fault] = ("rate_limit", "server_error", "drop", "cut", "garbled")
OF_CALLS: Sequence[Fault] = ("bad_arguments", "unknown_tool")
FAULTS = FaultPlan(
    {**dict.fromkeys(OF_SERVICE, 0.04), **dict.fromkeys(OF_CALLS, 0.07)},
    retry_after=0.01,
)


class Elsewhere(Tools):
    """The same with the model somewhere else."""

    def __init__(self, folder: Path, count: int, model: str, options: str = "") -> None:
        super().__init__(folder, RECIPE, count)
        text = (folder / "rows.recipe").read_text("utf-8").replace('openai("one")', model)
        self.recipe(text)
        (folder / "synth.toml").write_text(f"[functions]\nworkers = 2\n{options}")


def test_gemini_calls_through_faults_and_goes_on_with_its_signatures(tmp_path: Path) -> None:
    """The server refuses calls that come back without the signature that it gave them."""
    project = Elsewhere(tmp_path, 8, 'gemini("one")')
    with GeminiServer(answer=together, faults=FAULTS) as at:
        project._served = {"GOOGLE_GEMINI_BASE_URL": at.base_url, "GEMINI_API_KEY": "k"}
        assert project.synth("run", "rows.recipe", "--max-calls", "9").status == 3
        whole = project.synth("run", "rows.recipe")
        assert whole.status == 0, whole.err
        asked = at.total
        assert project.synth("run", "rows.recipe").status == 0
        assert at.total == asked
        assert at.by_status[400] == 0
    assert len(project.values()) == 8
    assert any(each["arguments"].keys() == {"number"} for each in calls(project))
    assert {each["check"] for each in project.events("step.rejected")} == {"tool_calls"}
    project.materialize()
    project.holds()


def calls(project: Tools) -> list[dict[str, Any]]:
    return [call for values in project.values().values() for call in values["reply.calls"]]


@pytest.mark.slow
def test_a_real_model_calls_and_speaks_and_goes_on_from_the_log(tmp_path: Path, tiny_caller: Path) -> None:
    project = Elsewhere(tmp_path, 3, f'transformers("{tiny_caller}")', "[models.one]\nthreads = 1\n")
    # In the middle of the first dialogue.
    assert project.synth("run", "rows.recipe", "--max-calls", "1").status == 3
    done = project.synth("run", "rows.recipe")
    assert done.status == 0, done.err
    assert (project.calls, len(project.values())) == (3 * 4, 3)
    for values in project.values().values():
        (called,) = values["reply.calls"]
        assert (called["name"], called["arguments"]) == ("lookup", {"number": "A-1"})
        assert called["thought"] == "An order."
        assert values["reply"] == values["last"] == "It is on its way."
    first = project.events("call.completed", "reply")[0]
    assert first["calls"] == [{"name": "lookup", "arguments": {"number": "A-1"}}]
    project.materialize()
    project.holds()


@pytest.mark.slow
def test_the_agent_of_a_shop_runs_on_vllm(tmp_path: Path, tiny_caller: Path) -> None:
    """The recipe as it is begun with, its agent a real model under a template with tools."""
    needs("vllm")
    agent = build(tmp_path / "agent", called=("lookup_order", {"number": "A-1018"}))
    assert synth("init", "--from", "tools", cwd=tmp_path).status == 0
    orders = tmp_path / "data/orders.jsonl"
    orders.write_text("".join(orders.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    with (tmp_path / "synth.toml").open("a", encoding="utf-8") as file:
        file.write('\n[models.agent]\nmax_num_seqs = 8\nkv_cache_gb = 0.25\ndtype = "float32"\nthreads = 1\n')
    mapped = (f"--model=agent=vllm:{agent}", "--model=customer=openai:customer")
    with OpenAIServer(answer=customer) as at:
        environment = {"OPENAI_BASE_URL": at.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "tools.recipe", *mapped, cwd=tmp_path, env=environment)
    assert ran.status == 0, ran.err
    done = synth("materialize", "tools.recipe", cwd=tmp_path)
    assert done.status == 0, done.err
    # Of the other order it asks for a number that there is not, which the recipe's checks refuse.
    assert "1 came to none" in ran.out
    (row,) = rows(tmp_path / "out/tools/train.jsonl")
    assert [tool["function"]["name"] for tool in row["tools"]] == ["lookup_order", "refund"]
    turn = ["user", "assistant", "tool", "assistant"]
    assert [message["role"] for message in row["messages"]] == ["system", *turn, *turn]
    (called,) = row["messages"][2]["tool_calls"]
    assert called["function"]["name"] == "lookup_order"
    assert "A-1018" in row["messages"][3]["content"]


def customer(asked: Asked) -> str:
    numbers = re.findall(r"A-1[0-9]+", asked.messages[-1][1])
    return f"Where is it? {' '.join(numbers)} {asked.key[:6]}"


@pytest.mark.slow
def test_a_model_without_tools_in_its_template_is_refused_before_anything_is_asked(
    tmp_path: Path, tiny_gemma: Path
) -> None:
    project = Elsewhere(tmp_path, 1, f'transformers("{tiny_gemma}")')
    done = project.synth("run", "rows.recipe")
    said = done.err.splitlines()[-1]
    assert done.status == 1
    assert said.startswith("synth: `reply` calls tools")
    assert "whose chat template takes no tools" in said
    assert project.calls == 0
