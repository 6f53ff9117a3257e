"""Whole runs with tools on engines of each kind: Gemini's protocol with its faults, and a real model that
calls by its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.models.fixtures import needs
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.tools import together
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
        for most in ("5", "11"):
            assert project.synth("run", "rows.recipe", "--max-calls", most).status == 3
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
@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_a_real_model_calls_and_speaks(tmp_path: Path, tiny_caller: Path, backend: str) -> None:
    needs(backend)
    own = 'max_num_seqs = 8\nkv_cache_gb = 0.25\ndtype = "float32"\n' if backend == "vllm" else ""
    project = Elsewhere(tmp_path, 3, f'{backend}("{tiny_caller}")', f"[models.one]\nthreads = 1\n{own}")
    if backend == "transformers":
        # In the middle of the first dialogue, which goes on from the log.
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
