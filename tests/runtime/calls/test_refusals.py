"""Services that refuse: a prompt costs itself, a key ends the run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synth.base.errors import EngineError
from tests.kit.servers.loopback import Asked, Raw
from tests.runtime.calls.behaving import Behaving, assert_adds_up, error, failures, run


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, "Your input was flagged by moderation", "refused"),
        (403, "no", "denied"),
        (400, "The response was filtered: content policy", "refused"),
    ],
)
def test_a_prompt_that_is_refused_costs_itself(tmp_path: Path, status: int, message: str, kind: str) -> None:
    def answer(asked: Asked) -> str | Raw:
        refused = re.search(r"number (1|5|9)\.", asked.messages[-1][1])
        return error(status, message) if refused else f"All of {asked.key[:12]}."

    for concurrency in (1, 8):
        folder = tmp_path / str(concurrency)
        folder.mkdir()
        # The very first call is refused as well, which others show to be its own fault.
        with Behaving(lambda *_: None, answer=answer, latency_s=0.02) as server:
            report = run(folder, server, concurrency=concurrency)
            assert report.outcome == "finished"
            assert report.counts["cohorts"]["talk"]["abandoned"] == 3
            assert set(failures(folder)) == {kind}
            assert_adds_up(report, folder, server)


@pytest.mark.parametrize("status", [401, 404])
def test_a_stray_refusal_of_a_key_is_tried_again(tmp_path: Path, status: int) -> None:
    with Behaving(lambda _, n: error(status, "who?") if n == 10 else None) as server:
        report = run(tmp_path, server)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 0
        assert failures(tmp_path) == {"denied": 1}


def test_a_key_that_is_revoked_ends_the_run_soon(tmp_path: Path) -> None:
    with Behaving(lambda _, n: error(401, "revoked") if n > 30 else None) as server:
        with pytest.raises(EngineError, match=r"refused the key .* \(401: revoked\)"):
            run(tmp_path, server, count=300, concurrency=8)
        assert server.arrived < 60
    # What was not asked is not lost: the next run, with a key, has all.
    with Behaving(lambda *_: None) as server:
        assert run(tmp_path, server, count=300).counts["cohorts"]["talk"]["completed"] == 300


@pytest.mark.parametrize("status", [403, 404])
def test_many_prompts_refused_in_a_row_cost_themselves(tmp_path: Path, status: int) -> None:
    def answer(asked: Asked) -> str | Raw:
        refused = re.search(r"number (1[5-9]|2\d)\.", asked.messages[-1][1])
        return error(status, "Forbidden") if refused else f"All of {asked.key[:12]}."

    with Behaving(lambda *_: None, answer=answer) as server:
        report = run(tmp_path, server, count=40, concurrency=4)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 15


def test_a_key_that_was_never_right_ends_the_run_at_once(tmp_path: Path) -> None:
    for concurrency in (1, 8):
        with Behaving(lambda *_: error(401, "no such key")) as server:
            with pytest.raises(EngineError, match="refused the key"):
                run(tmp_path, server, count=100, concurrency=concurrency)
            assert server.arrived <= 16


def test_a_refusal_in_a_second_run_costs_itself(tmp_path: Path) -> None:
    """The service answered in the run before: the first call of this one may be at fault alone."""
    with Behaving(lambda *_: None) as server:
        run(tmp_path, server, count=10, concurrency=1)
        server.answer = lambda asked: (
            error(403, "no") if "number 11." in asked.messages[-1][1] else f"All of {asked.key[:12]}."
        )
        report = run(tmp_path, server, count=20, concurrency=1)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 1


def test_a_key_that_never_worked_stops_the_run_at_once(tmp_path: Path) -> None:
    with Behaving(lambda *_: error(401, "who are you?")) as server:
        with pytest.raises(EngineError, match="check OPENAI_API_KEY"):
            run(tmp_path, server, concurrency=8)
        assert server.arrived <= 64
