"""Calls that score: their key, their numbers, their place in the log, and who cannot answer them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from synth.base.errors import CallFailed, EngineError
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.models import ModelPlan, Sampling
from synth.compiler.plan.steps import StepPlan
from synth.runtime.calls.attempt import Answer, Attempt, CallAbandoned, Place
from synth.runtime.calls.client import LiveClient, PreviewClient
from synth.runtime.calls.models import Models
from synth.runtime.calls.prompt import call_key, score_call
from synth.runtime.engines.base import (
    Call,
    Completion,
    EngineSpec,
    ModelIdentity,
    render_answer,
)
from synth.runtime.engines.local.thread import PendingRequest
from synth.runtime.events.budget import RunBudget
from synth.runtime.events.progress import Progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.retrieval.service import Indexes
from synth.runtime.settings import Settings
from synth.store.log.log import Log
from synth.store.log.past.history import History
from synth.store.log.past.logged import LoggedSample
from tests.engines.local.scoring import INDONESIAN, in_transformers
from tests.kit.models.calls import messages, run
from tests.kit.models.fixtures import needs

pytest.importorskip("transformers")

# The key -----------------------------------------------------------------------------

IDENTITY = ModelIdentity(backend="vllm", id="some/model", revision="abc", template="0" * 64)


def test_a_scoring_call_is_another_call() -> None:
    def key(scored: int | None = None) -> str:
        return call_key(IDENTITY, messages("Hi."), (2, 7, 8, 9), None, {}, 0, scored)

    assert len({key(), key(1), key(2), key(3)}) == 4


def test_the_keys_of_generating_calls_are_what_they_were() -> None:
    """Logs hold them: a changed key would pay for every call again."""
    assert (
        call_key(IDENTITY, messages("Hi."), (2, 7), {"type": "string"}, {"temperature": 0.5}, 7)
        == "d21e071df9c10ec586bc0c772f09ce0952b9a348a2e85060a09190a4c12e7848"
    )
    assert (
        call_key(IDENTITY, messages("Hi.", "Yes?", "No."), None, None, {}, 0)
        == "a3f413444945bbb42108371dacc8bdd4a21d82b7e6e836861e643843a919e87d"
    )


# Engines that cannot -----------------------------------------------------------------


@pytest.mark.parametrize("backend", ["openai", "gemini"])
def test_a_server_that_renders_cannot_score(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("openai", "google.genai", "aiohttp")
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "no-real-key")
    plan, attempt = scoring_plan(EngineSpec("base", backend, "some-model"), "Hello.", "Hi.")
    models = Models(plan, Settings())
    assert render_answer(models["base"].engine, attempt.messages) is None
    with pytest.raises(EngineError, match=r"`base` runs on .*, which gives no token probabilities") as caught:
        score_call(models["base"], attempt)
    assert "\n" not in str(caught.value)


def scoring_plan(spec: EngineSpec, *turns: str) -> tuple[Plan, Attempt]:
    """A plan with one step that scores, and the attempt at it for a conversation."""
    step = StepPlan(name="score", model="base", sees="row", scores=True)
    plan = Plan(
        edition=1,
        recipe="scores",
        seed=7,
        models=(ModelPlan(name="base", capabilities=("chat",), backend=spec.backend, id=spec.id),),
        cohorts=(CohortPlan(name="rows", quota=1, times=1, steps=(step,)),),
    )
    step = plan.cohorts[0].steps[0]
    return plan, Attempt("rows", "00000000000000aa", step, Place(0), messages(*turns), 0, LoggedSample())


# Scores -------------------------------------------------------------------------------


def score(*logprobs: float) -> Completion | CallFailed:
    """The outcome of a call that scores the last two of three tokens."""
    made = Call("", (), (2, 7, 8), None, Sampling(), 0, scored=1)
    return PendingRequest(made, (2, 7, 8), cast(Any, None), issued=0.0, number=0).scores(logprobs)


def test_a_score_is_the_sum_and_the_count() -> None:
    found = score(-0.5, -2.0)
    assert isinstance(found, Completion)
    assert (found.logprob, found.scored_tokens, found.prompt_tokens) == (-2.5, 2, 3)


@pytest.mark.parametrize("odd", [math.nan, -math.inf])
def test_what_is_no_number_is_no_score(odd: float) -> None:
    """JSON, which the log holds, knows neither infinity nor NaN."""
    found = score(-0.5, odd)
    assert isinstance(found, CallFailed)
    assert (found.kind, found.retryable) == ("malformed", False)


@pytest.mark.parametrize("logprobs", [(), (-0.5,), (-0.5, -0.5, -0.5)])
def test_a_score_of_other_tokens_is_none(logprobs: tuple[float, ...]) -> None:
    found = score(*logprobs)
    assert isinstance(found, CallFailed)
    assert (found.kind, found.retryable) == ("server", True)
    assert f"gave {len(logprobs)} of 2 token probabilities" in str(found)


# In a log --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_score_is_logged_and_asked_for_once(tiny_gemma: Path, tmp_path: Path) -> None:
    plan, attempt = scoring_plan(in_transformers(tiny_gemma), "Who?", INDONESIAN)
    again = replace(attempt, sample_id="00000000000000ab", place=Place(3))

    async def live() -> tuple[Answer, Call]:
        models = Models(plan, Settings())
        with Log(tmp_path / "log.duckdb", writer=True) as log:
            recorder = Recorder(log, "run")
            indexes = Indexes(plan, Settings())
            caller = LiveClient(
                plan, models, indexes, recorder, RunBudget(), Progress(plan, "run"), History(log)
            )
            answer = await caller.call(attempt)
            await recorder.close()
        made = score_call(models["base"], again)
        await models.close()
        return answer, made

    answer, made = run(live())
    assert answer.logprob is not None
    assert answer.logprob < 0
    assert (answer.text, answer.reused) == ("", False)
    assert made.key == answer.call_key
    with Log(tmp_path / "log.duckdb") as log:
        (earlier,) = History(log).calls([attempt.sample_id]).values()
        (payload,) = log.cursor().execute("SELECT payload FROM events").fetchone() or ()
    assert f'"scored":{made.scored}' in payload.replace(" ", "")
    preview = PreviewClient(plan, Models(plan, Settings()))
    known = run(preview.call(replace(attempt, earlier=earlier)))
    assert known == replace(answer, reused=True)


@pytest.mark.slow
def test_a_conversation_that_cannot_be_rendered_costs_its_sample(tiny_gemma: Path) -> None:
    plan, attempt = scoring_plan(in_transformers(tiny_gemma), "Who?")
    with pytest.raises(CallAbandoned, match="does not end with an answer"):
        score_call(Models(plan, Settings())["base"], attempt)
