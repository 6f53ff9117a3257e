"""The transformers engine."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from synth.base.errors import CallFailed, EngineDied, EngineError, ExtraMissing
from synth.compiler.plan.models import Sampling
from synth.runtime.engines import open_engine
from synth.runtime.engines.base import Completion, Engine, EngineSpec
from synth.runtime.engines.local import thread as local
from synth.runtime.engines.local.transformers import TransformersEngine
from tests.engines.local.person import PERSON
from tests.kit.models.calls import ask, call, messages, outcomes, run, texts, zeros
from tests.kit.models.tiny_gemma import CONTEXT

# Prompts from 10 to 800 tokens: some longer than the tiny model's sliding window.
PROMPTS = ("hi", "word " * 20, "hello there " * 12, "a persona is " * 40, "q" * 700, "the model " * 90)

pytestmark = pytest.mark.slow


def tiny(checkpoint: Path, **options: Any) -> EngineSpec:
    return EngineSpec(
        name="tiny", backend="transformers", id=str(checkpoint), options={"threads": 1, **options}
    )


@pytest.fixture(scope="module")
def engine(tiny_gemma: Path) -> Iterator[TransformersEngine]:
    made = TransformersEngine(tiny(tiny_gemma, batch_size=8, device="cpu"))
    run(made.start())
    yield made
    run(made.close())


# Who it is --------------------------------------------------------------------------


def test_it_is_an_engine_that_knows_itself(engine: TransformersEngine, tiny_gemma: Path) -> None:
    assert isinstance(engine, Engine)
    assert str(engine.identity) == f"transformers:{tiny_gemma}"
    assert engine.capabilities == {"chat", "template", "json", "logprobs"}
    assert (engine.concurrency, engine.adaptive) == (8, False)
    assert engine.version.startswith("transformers ")
    assert "frozen" in TransformersEngine(replace(tiny(tiny_gemma), revision="abc")).capabilities


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"options": {"batch": 8}}, "the transformers backend has no option `batch`"),
        ({"options": {"batch_size": "many"}}, "option `batch_size` is wrong: it takes a whole number"),
        ({"adapter": "some/adapter"}, "loads no adapters: use vllm for `some/adapter`"),
        ({"id": "nobody/no-such-model"}, "`nobody/no-such-model` is not on this machine"),
    ],
)
def test_a_spec_that_cannot_work_is_one_sentence(
    tiny_gemma: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EngineError) as caught:
        TransformersEngine(replace(tiny(tiny_gemma), **change))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_read_are_one_sentence(tiny_gemma: Path, tmp_path: Path) -> None:
    for file in tiny_gemma.iterdir():
        content = b"not weights" if file.suffix == ".safetensors" else file.read_bytes()
        (tmp_path / file.name).write_bytes(content)
    damaged = TransformersEngine(tiny(tmp_path))
    with pytest.raises(EngineError, match="cannot be loaded by the transformers backend") as caught:
        run(damaged.start())
    assert "\n" not in str(caught.value)
    (late,) = outcomes(damaged, call(damaged, "x"))
    assert isinstance(late, EngineError)


def test_a_missing_package_is_named(tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExtraMissing, match=r"needs `torch`.*pip install .*'transformers"):
        open_engine(tiny(tiny_gemma))


# Answers ----------------------------------------------------------------------------


def test_greedy_answers_are_those_of_the_library(engine: TransformersEngine, tiny_gemma: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_gemma, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_gemma)
    answers = ask(engine, *(call(engine, text, temperature=0.0, max_tokens=40) for text in PROMPTS))
    for text, answer in zip(PROMPTS, answers, strict=True):
        prompt = torch.tensor([engine.render(messages(text))])
        with torch.inference_mode():
            ids = model.generate(prompt, max_new_tokens=40, do_sample=False)[0, prompt.shape[1] :]
        assert answer.text == tokenizer.decode(ids, skip_special_tokens=True)
        assert (answer.prompt_tokens, answer.completion_tokens) == (prompt.shape[1], len(ids))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PROMPTS), st.integers(-1, 2**64)), min_size=2, max_size=8),
    st.builds(
        dict,
        temperature=st.sampled_from([None, 0.0, 0.7, 1.5]),
        top_p=st.sampled_from([None, 0.5, 1.0]),
        top_k=st.sampled_from([None, 1, 20]),
    ),
)
def test_an_answer_does_not_depend_on_its_neighbours(
    engine: TransformersEngine, asked: list[tuple[str, int]], sampling: dict[str, Any]
) -> None:
    made = [call(engine, text, seed=seed, max_tokens=10, **sampling) for text, seed in asked]
    together = texts(ask(engine, *made))
    assert texts(ask(engine, *reversed(made)))[::-1] == together
    assert texts(ask(engine, made[0])) == together[:1]


def test_seeds_make_answers_differ(engine: TransformersEngine) -> None:
    made = [call(engine, "Tell me.", seed=seed, max_tokens=20) for seed in range(8)]
    assert len(set(texts(ask(engine, *made)))) > 4


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-8, 8), min_size=4, max_size=12),
    st.sampled_from([None, 0.3, 1.0]),
    st.sampled_from([None, 0.1, 0.6, 1.0]),
    st.sampled_from([None, 1, 3, 50]),
)
def test_sampling_keeps_the_likeliest(
    scores: list[float], temperature: float | None, top_p: float | None, top_k: int | None
) -> None:
    import torch

    from synth.runtime.engines.local.decoding import choose

    logits = torch.tensor(scores)
    chances = torch.softmax(logits / (temperature or 1.0), 0).tolist()
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    for seed in range(8):
        chosen = choose(logits, sampling, torch.Generator().manual_seed(seed))
        likelier = [chance for chance in chances if chance > chances[chosen] * (1 + 1e-5)]
        assert len(likelier) < (top_k or len(scores) + 1)
        # After top-k the chances are larger, so this bound holds all the more.
        assert sum(likelier) < (top_p or 1.0) + 1e-5


def test_an_answer_ends_before_its_stop(engine: TransformersEngine) -> None:
    (whole,) = ask(engine, call(engine, "Tell me.", seed=5, max_tokens=60))
    stop = whole.text[10:13]
    made = call(engine, "Tell me.", seed=5, max_tokens=60, stop=("no such text", stop))
    (cut,) = ask(engine, made)
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")
    assert cut.completion_tokens < whole.completion_tokens


def test_without_max_tokens_the_rest_of_the_context_is_used(engine: TransformersEngine) -> None:
    (answer,) = ask(engine, call(engine, "q " * 480, schema=zeros(400)))
    assert answer.finish_reason == "length"
    assert answer.prompt_tokens + answer.completion_tokens == CONTEXT


def test_json_keeps_to_its_schema(engine: TransformersEngine) -> None:
    made = [call(engine, "A person.", seed=seed, schema=PERSON, max_tokens=200) for seed in range(8)]
    for answer in ask(engine, *made):
        assert answer.finish_reason == "stop"
        validate(json.loads(answer.text), PERSON)


# Faults -----------------------------------------------------------------------------


def test_a_bad_call_fails_alone(engine: TransformersEngine) -> None:
    good = [call(engine, f"Hello {n}", max_tokens=10) for n in range(4)]
    bad = {
        "too_long": call(engine, "word " * CONTEXT),
        "no such type": call(engine, "x", schema={"type": "nonsense"}),
        "unsatisfiable": call(engine, "x", schema={"type": "integer", "minimum": 5, "maximum": 3}),
    }
    answers = outcomes(engine, *good[:2], *bad.values(), *good[2:])
    assert all(isinstance(answer, Completion) for answer in [*answers[:2], *answers[-2:]])
    for name, failure in zip(bad, answers[2:-2], strict=True):
        assert isinstance(failure, CallFailed), name
        assert failure.kind == ("too_long" if name == "too_long" else "bad_request")
        assert not failure.retryable


def test_a_batch_that_fails_can_be_asked_again(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    made = [call(engine, f"Hello {n}", max_tokens=10) for n in range(3)]
    before = texts(ask(engine, *made))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory\nand more lines")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "multinomial", fail)
        for failure in outcomes(engine, *made):
            assert isinstance(failure, CallFailed)
            assert (failure.kind, failure.retryable) == ("engine", True)
            assert str(failure) == "decoding stopped: out of memory"
    assert texts(ask(engine, *made)) == before


def test_the_smaller_priority_goes_first(tiny_gemma: Path) -> None:
    alone = TransformersEngine(tiny(tiny_gemma, batch_size=1))
    finished: list[int] = []

    async def one(priority: int) -> None:
        await alone.generate(call(alone, "x", priority=priority, max_tokens=3))
        finished.append(priority)

    async def together() -> None:
        await alone.start()
        await asyncio.gather(one(0), one(9), one(5), one(1))
        await alone.close()

    run(together())
    assert finished == [0, 1, 5, 9]


def test_a_call_ends_at_its_deadline_and_costs_no_other(tiny_gemma: Path) -> None:
    engine = TransformersEngine(tiny(tiny_gemma, batch_size=8, device="cpu", timeout=0.1))
    run(engine.start())
    try:
        long = call(engine, "on and on", schema=zeros(900))
        short = call(engine, "hi", temperature=0.0, max_tokens=1)
        late, answered = outcomes(engine, long, short)
        assert isinstance(late, CallFailed)
        assert (late.kind, late.retryable) == ("timeout", True)
        assert 0 < late.completion_tokens < 900
        assert late.prompt_tokens == len(long.token_ids or ())
        assert str(late) == f"no end within 0.1 s, after {late.completion_tokens:,} tokens"
        assert isinstance(answered, Completion)
        assert isinstance(outcomes(engine, short)[0], Completion)
    finally:
        run(engine.close())


def test_waiting_for_a_seat_does_not_count(tiny_gemma: Path) -> None:
    """One seat and a dozen calls: together they take longer than any of them may."""
    engine = TransformersEngine(tiny(tiny_gemma, batch_size=1, device="cpu"))
    run(engine.start())
    try:
        calls = [call(engine, "zeros", schema=zeros(100), seed=seed) for seed in range(12)]
        [alone] = ask(engine, calls[0])
        engine._timeout = 6 * alone.latency_ms / 1000
        assert all(isinstance(answer, Completion) for answer in outcomes(engine, *calls))
    finally:
        run(engine.close())


def test_a_long_answer_shows_its_tokens(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LONG_S", 0.0)

    async def watched() -> list[tuple[int, int]]:
        asked = asyncio.ensure_future(engine.generate(call(engine, "zeros", schema=zeros(400))))
        seen = []
        while not asked.done():
            await asyncio.sleep(0.005)
            if engine.writing is not None:
                seen.append(engine.writing)
        return seen

    seen = run(watched())
    assert {answers for answers, _ in seen} == {1}
    tokens = [tokens for _, tokens in seen]
    assert tokens == sorted(tokens)
    assert 0 < tokens[-1] <= 402
    assert engine.writing is None


def test_a_model_that_is_stuck_in_a_step_is_given_up(
    tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(tiny(tiny_gemma, device="cpu", timeout=0.1))
    run(engine.start())
    monkeypatch.setattr(local, "_STUCK_S", 0.2)
    monkeypatch.setattr(local, "_LOOK_S", 0.05)
    free = threading.Event()
    monkeypatch.setattr(engine, "_decode", lambda rows: free.wait(60))
    [stuck] = outcomes(engine, call(engine, "hello"))
    assert isinstance(stuck, EngineDied)
    assert "taken to be stuck" in str(stuck)
    [next_one] = outcomes(engine, call(engine, "hello"))
    assert isinstance(next_one, EngineDied)
    free.set()
    run(engine.close())


def test_a_cancelled_call_is_not_decoded_to_its_end(
    tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    alone = TransformersEngine(tiny(tiny_gemma, batch_size=2))
    draw = torch.multinomial
    drawn = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal drawn
        drawn += 1
        return draw(*arguments, **named)

    async def together() -> None:
        await alone.start()
        long = asyncio.create_task(alone.generate(call(alone, "long", schema=zeros(900))))
        await alone.generate(call(alone, "x", schema=zeros(1)))
        long.cancel()
        await alone.generate(call(alone, "next", schema=zeros(4)))
        await alone.close()

    monkeypatch.setattr(torch, "multinomial", counted)
    run(together())
    assert 0 < drawn < 450


def test_a_call_that_goes_away_behind_a_batch_costs_no_other(tiny_gemma: Path) -> None:
    alone = TransformersEngine(tiny(tiny_gemma, batch_size=1))

    async def together() -> list[Completion]:
        await alone.start()
        first = asyncio.create_task(alone.generate(call(alone, "first", schema=zeros(60))))
        waiting = asyncio.create_task(alone.generate(call(alone, "waiting", priority=9)))
        # Both are in hand once this is answered, and the first is decoded.
        await alone.generate(call(alone, "x", priority=-1, schema=zeros(1)))
        waiting.cancel()
        done = [await first, await alone.generate(call(alone, "next", schema=zeros(2)))]
        await alone.close()
        return done

    assert [done.text for done in run(together())] == [f'"{"0" * count}"' for count in (60, 2)]


def test_closing_fails_what_is_in_hand(tiny_gemma: Path) -> None:
    closing = TransformersEngine(tiny(tiny_gemma, batch_size=2))

    async def close_early() -> list[Completion | BaseException]:
        await closing.start()
        going = [
            asyncio.create_task(closing.generate(call(closing, f"{n}", schema=zeros(900)))) for n in range(5)
        ]
        await closing.generate(call(closing, "x", priority=-1, schema=zeros(1)))
        await closing.close()
        return await asyncio.gather(*going, return_exceptions=True)

    assert [type(end) for end in run(close_early())] == [EngineError] * 5


def test_an_engine_is_started_once_and_used_while_it_is_open(tiny_gemma: Path) -> None:
    once = TransformersEngine(tiny(tiny_gemma))
    (early,) = outcomes(once, call(once, "x"))
    assert isinstance(early, EngineError)
    assert "has not been started" in str(early)
    run(once.start())
    with pytest.raises(EngineError, match="was started before"):
        run(once.start())
    assert ask(once, call(once, "x", max_tokens=2))
    run(once.close())
    run(once.close())
    (late,) = outcomes(once, call(once, "x"))
    assert isinstance(late, EngineError)
    assert "is closed" in str(late)
