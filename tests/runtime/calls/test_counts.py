"""Counts agree wherever they are told, whatever is lost, stopped and run again."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from synth import api
from synth.cli.status import _runs
from synth.runtime.events.progress import progress_path
from synth.store.log.log import Log
from tests.kit.servers.answers import sentence
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query

RECIPE = """edition 1
recipe counts {{ seed = {seed}, losses = {losses}% }}
model author: model<chat> from openai("any")
schema world {{ about: text }}
set worlds: world {{ {worlds} }}
conversation c over world in worlds times {times} {{
  draw mood from ["calm", "odd"]
  turn q: user by author {{
    prompt = "Ask about {{{{ world.about }}}} {{{{ mood }}}} {{{{ nth }}}}"
    check {{ opens_with_any("Yes") }}
    retry = {retry}
  }}
  turn a: model by author {{ prompt = "Answer {{{{ q }}}}", check {{ {distinct}length(1..2_000) }} }}
}}
export t: messages from c to "out"
"""


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    """A recipe, how often answers pass and fail, and the bounds of some runs one after the other."""
    return {
        "seed": draw(st.integers(0, 99)),
        "losses": draw(st.sampled_from([0, 60, 300, 1000])),
        "cells": draw(st.integers(1, 3)),
        "times": draw(st.integers(1, 6)),
        "retry": draw(st.integers(0, 1)),
        "distinct": draw(st.booleans()),
        "passing": draw(st.sampled_from([10, 40, 90])),
        "failing": draw(st.sampled_from([0, 10, 40])),
        "runs": draw(
            st.lists(
                st.sampled_from(
                    [{"max_calls": 3}, {"max_calls": 15}, {"limit": 2}, {"retry_lost": True}, {}]
                ),
                min_size=1,
                max_size=3,
            )
        ),
    }


def answer(story: dict[str, Any], server: OpenAIServer) -> Any:
    def say(asked: Asked) -> str | Raw:
        number = int(sha256(f"{asked.key} {story['seed']}".encode()).hexdigest()[:8], 16)
        if number % 100 < story["failing"]:
            return server.error(400, "not this one")
        passes = number // 100 % 100 < story["passing"]
        # Some answers are alike, for `distinct`.
        return f"{'Yes' if passes else 'No'}, {sentence(str(number % 7) if number % 3 == 0 else asked.key)}"

    return say


@pytest.mark.filterwarnings("ignore::synth.api.RecipeWarning")
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(stories())
def test_counts_agree_in_summary_log_status_and_dataset(
    monkeypatch: pytest.MonkeyPatch, openai_server: OpenAIServer, story: dict[str, Any]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    openai_server.answer = answer(story, openai_server)
    with TemporaryDirectory() as name:
        folder = Path(name)
        worlds = ", ".join(f'w{number} {{ about = "world {number}" }}' for number in range(story["cells"]))
        distinct = "distinct(similarity = 0.8), " if story["distinct"] else ""
        path = folder / "counts.recipe"
        path.write_text(RECIPE.format(**{**story, "worlds": worlds, "distinct": distinct}))
        plan, log = api.compile(path), folder / "synth.duckdb"
        for bounds in [*story["runs"], {}]:
            report = api.run(plan, log=log, **bounds)
            if "limit" in bounds:
                continue
            counts = report.counts["cohorts"]["c"]
            assert_agreed(plan, log, folder, report.counts["cohorts"])
            calls = openai_server.total
            again = api.run(plan, log=log, max_calls=0).counts["cohorts"]["c"]
            assert openai_server.total == calls
            assert again == {**counts, "found": counts["completed"], "open": 0}


def assert_agreed(plan: Any, log: Path, folder: Path, cohorts: dict[str, Any]) -> None:
    """The log, `status`, `progress.json` and the dataset say what the summary says."""
    counts = cohorts["c"]
    assert counts["completed"] + counts["pending"] == counts["quota"]
    ended = dict(
        query(
            log,
            "SELECT kind, count(DISTINCT sample_id) FROM events WHERE kind LIKE 'sample.%' GROUP BY ALL",
        )
    )
    assert counts["completed"] == min(counts["quota"], ended.get("sample.completed", 0))
    assert counts["abandoned"] == ended.get("sample.abandoned", 0)
    assert json.loads(progress_path(log).read_text())["cohorts"] == cohorts
    with Log(log) as opened:
        assert _runs(opened)[-1]["cohorts"] == cohorts
    (dataset,) = api.materialize(plan, log=log, out=folder, partial=True)
    assert dataset.manifest["source"]["samples"] == counts["completed"]
    assert dataset.missing == counts["pending"]
