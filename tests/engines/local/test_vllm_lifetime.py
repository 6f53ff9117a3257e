"""The vLLM engine under an older release, in a run, beside another engine, and when it fails or ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import CallFailed, EngineDied, EngineError
from synth.runtime.engines.base import Completion, EngineSpec
from synth.runtime.engines.local.vllm import VllmEngine
from tests.kit.models.calls import ask, call, outcomes, run, texts, zeros
from tests.kit.models.tiny_gemma import CONTEXT
from tests.kit.support import environment, python, query, synth

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vllm_installed")]

# Another vLLM ------------------------------------------------------------------------


def test_a_refusal_of_an_older_vllm_costs_that_call_alone(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exceptions have no class of their own, and are ValueErrors."""
    from vllm import LLMEngine, exceptions

    from synth.runtime.engines.local.vllm import _refusals

    add = LLMEngine.add_request

    def refusing(self: LLMEngine, number: str, prompt: Any, params: Any, **named: Any) -> str:
        if params.temperature == 0.5:
            raise ValueError("too tepid")
        return str(add(self, number, prompt, params, **named))

    monkeypatch.setattr(LLMEngine, "add_request", refusing)
    monkeypatch.delattr(exceptions, "VLLMClientError")
    _refusals.cache_clear()
    refused, answered = outcomes(
        vllm_engine,
        call(vllm_engine, "x", temperature=0.5, max_tokens=4),
        call(vllm_engine, "x", max_tokens=4),
    )
    _refusals.cache_clear()
    assert isinstance(refused, CallFailed)
    assert (refused.kind, str(refused)) == ("bad_request", "too tepid")
    assert isinstance(answered, Completion)


def test_an_older_vllm_is_given_no_setting_that_it_does_not_know(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vllm

    known = vllm_engine.engine_arguments()
    assert known.pop("prefix_cache_retention_interval", "none") is None

    class Older:
        """Without the settings that came later."""

    monkeypatch.setattr(vllm, "EngineArgs", Older)
    assert vllm_engine.engine_arguments() == known


# In a run -----------------------------------------------------------------------------


def test_a_prompt_over_the_context_costs_its_samples_and_not_the_run(
    tiny_gemma: Path, tmp_path: Path
) -> None:
    long = "word " * CONTEXT
    (tmp_path / "mixed.recipe").write_text(
        f"""\
edition 1

recipe mixed {{ seed = 1 }}

model base: model<chat, template> from vllm("somewhere") {{ temperature = 1.0, max_tokens = 20 }}

set topics: topic {{
  brief {{ about = "a word" }}
  endless {{ about = "{long}" }}
}}

conversation talk over topic in topics times 4 {{
  turn question: user by base {{
    prompt = "Ask about {{{{ topic.about }}}}."
    retry = 9
    on_length = keep
  }}
  turn answer: model by base {{ sees = transcript, retry = 9, on_length = keep }}
  train_on = [answer]
}}

export train: messages from talk to "out"
""",
        "utf-8",
    )
    (tmp_path / "synth.toml").write_text(
        f"""\
[models.base]
backend = "vllm"
id = "{tiny_gemma}"
max_num_seqs = 4
kv_cache_gb = 0.25
threads = 1
""",
        "utf-8",
    )
    done = synth("run", tmp_path / "mixed.recipe", "--json", cwd=tmp_path, timeout=200)
    assert done.status == 3, done.err
    report = done.json()
    failed = query(
        tmp_path / "synth.duckdb",
        """SELECT DISTINCT payload ->> 'failure', payload ->> 'retryable' FROM events
           WHERE kind = 'call.failed'""",
    )
    assert failed == [("too_long", "false")]
    assert report["outcome"] == "short"
    assert report["cohorts"]["talk"]["completed"] == 4


@pytest.mark.soak
def test_a_killed_core_costs_a_run_one_restart(tiny_gemma: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kit.models.killed_run", str(tiny_gemma)],
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["outcome"] == "finished"
    assert report["counts"]["cohorts"]["talk"]["completed"] == 12
    # Four calls had seats and four more were waiting for them.
    assert report["counts"]["failures"].keys() == {"engine"}
    assert 1 <= report["counts"]["failures"]["engine"] <= 8
    assert report["left"] == []


# Life and death ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_engine(vllm_engine: VllmEngine, tiny_spec: EngineSpec) -> Iterator[VllmEngine]:
    """Beside the first; the last test that has it closes it."""
    yield from started(tiny_spec)


@pytest.fixture
def doomed_engine(vllm_engine: VllmEngine, tiny_spec: EngineSpec) -> Iterator[VllmEngine]:
    yield from started(tiny_spec)


def started(spec: EngineSpec) -> Iterator[VllmEngine]:
    engine = VllmEngine(spec)
    run(engine.start())
    yield engine
    run(engine.close())


def test_two_engines_share_a_process(vllm_engine: VllmEngine, second_engine: VllmEngine) -> None:
    async def together() -> list[Completion]:
        return await asyncio.gather(
            *(
                engine.generate(call(engine, f"Hello {n}", seed=n, max_tokens=30))
                for n in range(12)
                for engine in (vllm_engine, second_engine)
            )
        )

    answers = texts(run(together()))
    assert answers[::2] == answers[1::2]


def test_engines_in_one_process_do_not_wait_for_each_other(
    vllm_engine: VllmEngine, second_engine: VllmEngine
) -> None:
    finished: list[str] = []

    async def long() -> None:
        await vllm_engine.generate(call(vllm_engine, "long", schema=zeros(400)))
        finished.append("long")

    async def short() -> None:
        await vllm_engine.generate(call(vllm_engine, "x", schema=zeros(1)))
        await second_engine.generate(call(second_engine, "short", schema=zeros(100)))
        finished.append("short")

    async def together() -> None:
        await asyncio.gather(long(), short())

    run(together())
    assert finished == ["short", "long"]


def test_a_failing_step_costs_the_calls_in_hand_and_no_more(
    second_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm import LLMEngine

    made = [call(second_engine, f"Hello {n}", max_tokens=20) for n in range(3)]
    before = texts(ask(second_engine, *made))

    def fail(_: object) -> None:
        raise RuntimeError("out of memory\nand more lines")

    with monkeypatch.context() as patch:
        patch.setattr(LLMEngine, "step", fail)
        *failures, refused = outcomes(second_engine, *made, call(second_engine, "word " * CONTEXT))
        for failure in failures:
            assert isinstance(failure, CallFailed)
            assert (failure.kind, failure.retryable) == ("engine", True)
            assert str(failure) == "the vLLM engine stopped: out of memory"
        # It was refused in the turn whose step failed.
        assert isinstance(refused, CallFailed)
        assert refused.kind == "too_long"
    assert texts(ask(second_engine, *made)) == before


def test_an_engine_that_keeps_failing_is_given_up(
    doomed_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm import LLMEngine

    def fail(_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(LLMEngine, "step", fail)
    made = call(doomed_engine, "Hello", max_tokens=20)
    for _ in range(3):
        (failure,) = outcomes(doomed_engine, made)
        assert isinstance(failure, CallFailed)
    (end,) = outcomes(doomed_engine, made)
    assert isinstance(end, EngineDied)
    assert "stopped 3 times (out of memory)" in str(end)


def test_closing_fails_what_is_in_hand_and_leaves_the_other_engine_alone(
    vllm_engine: VllmEngine, second_engine: VllmEngine
) -> None:
    other = call(vllm_engine, "Hello 3", seed=3, max_tokens=30)
    before = texts(ask(vllm_engine, other))

    async def close_early() -> list[Completion | BaseException]:
        going = [
            asyncio.create_task(second_engine.generate(call(second_engine, f"{n}", schema=zeros(900))))
            for n in range(3)
        ]
        await second_engine.generate(call(second_engine, "x", schema=zeros(1)))
        await second_engine.close()
        return await asyncio.gather(*going, return_exceptions=True)

    ends = run(close_early())
    assert [type(end) for end in ends] == [EngineError] * 3
    (late,) = outcomes(second_engine, call(second_engine, "x"))
    assert isinstance(late, EngineError)
    assert "is closed" in str(late)
    assert texts(ask(vllm_engine, other)) == before


def test_a_model_that_does_not_fit_is_one_sentence(vllm_engine: VllmEngine, tiny_spec: EngineSpec) -> None:
    engine = VllmEngine(replace(tiny_spec, options={**tiny_spec.options, "max_model_len": 10**6}))
    with pytest.raises(EngineError, match=r"cannot be loaded by the vllm backend: .*max_model_len") as caught:
        run(engine.start())
    assert "\n" not in str(caught.value)
    assert isinstance(ask(vllm_engine, call(vllm_engine, "still here", max_tokens=4))[0], Completion)


def test_a_killed_core_is_rebuilt_and_an_interrupt_is_not_felt(tiny_gemma: Path) -> None:
    """With the model in processes of its own; needs a fresh process, since vLLM reads its mode once."""
    done = python("-m", "tests.kit.models.killed_core", tiny_gemma)
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1]) == {
        "interrupted": ["Completion"] * 4,
        "killed": ["engine"] * 4,
        "again": ["Completion"],
        "left": [],
    }
