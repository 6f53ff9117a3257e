"""Scoring: how likely a model finds an answer that is given to it, in each engine that can say so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import CallFailed
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import (
    Call,
    Completion,
    Engine,
    EngineSpec,
    Message,
    Scorer,
)
from synth.runtime.engines.local.thread import LocalEngine
from tests.engines.local.scoring import ARABIC, HOSTILE, INDONESIAN, in_transformers
from tests.kit.models.calls import ask, call, messages, outcomes, run, texts, zeros
from tests.kit.models.fixtures import needs
from tests.kit.models.tiny_gemma import CONTEXT

pytest.importorskip("transformers")

# Answers of 2 to 700 tokens after prompts of 10 to 500, some beyond the tiny model's sliding
# window of 256.
CONVERSATIONS: tuple[tuple[Message, ...], ...] = (
    messages("What is your primary function?", "To say who I am when a user asks what it is for."),
    messages("Who are you?", "A persona.", "In what language?", ARABIC),
    messages("Siapa kamu?", INDONESIAN),
    messages(HOSTILE, f"No. {HOSTILE}"),
    (Message("system", "You are Ada."), *messages("Who?", "Ada, a librarian.")),
    messages("Say nothing.", ""),
    messages("a persona is " * 120, "who the model says it is"),
    messages("Count.", "q" * 700),
    messages("the model " * 90, ARABIC + INDONESIAN * 3),
)


def scoring(engine: LocalEngine, said: tuple[Message, ...], priority: int = 0) -> Call:
    ids, scored = engine.render_answer(said)
    return Call("", said, ids, None, Sampling(), 0, priority, scored=scored)


def perplexity(answer: Completion) -> float:
    assert answer.logprob is not None
    return math.exp(-answer.logprob / answer.scored_tokens)


def directly(model: Any, made: Call) -> float:
    """The perplexity from one plain pass of the model over everything."""
    import torch

    assert made.token_ids is not None
    assert made.scored is not None
    ids = torch.tensor([made.token_ids])
    with torch.inference_mode():
        chances = model(input_ids=ids).logits[0].double().log_softmax(-1)
    found = chances[:-1].gather(-1, ids[0, 1:, None])[made.scored - 1 :]
    return math.exp(-float(found.mean()))


@pytest.fixture(scope="module")
def tiny_model(tiny_gemma: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_gemma, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def transformers_engine(tiny_gemma: Path) -> Iterator[LocalEngine]:
    from synth.runtime.engines.local.transformers import TransformersEngine

    engine = TransformersEngine(in_transformers(tiny_gemma))
    run(engine.start())
    yield engine
    run(engine.close())


@pytest.fixture(params=["transformers", "vllm"])
def engine(request: pytest.FixtureRequest) -> LocalEngine:
    needs(request.param)
    found: LocalEngine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.mark.slow
def test_perplexity_is_that_of_a_plain_pass(engine: LocalEngine, tiny_model: Any) -> None:
    made = [scoring(engine, said) for said in CONVERSATIONS]
    for one, answer in zip(made, ask(engine, *made), strict=True):
        assert one.token_ids is not None
        assert one.scored is not None
        assert perplexity(answer) == pytest.approx(directly(tiny_model, one), rel=1e-4)
        assert (answer.text, answer.finish_reason) == ("", "stop")
        assert answer.prompt_tokens == len(one.token_ids)
        assert answer.scored_tokens == len(one.token_ids) - one.scored
        assert answer.completion_tokens == 0


@pytest.mark.slow
def test_both_engines_find_the_same(transformers_engine: LocalEngine, request: pytest.FixtureRequest) -> None:
    needs("vllm")
    other: LocalEngine = request.getfixturevalue("vllm_engine")
    made = [scoring(transformers_engine, said) for said in CONVERSATIONS]
    assert [scoring(other, said).token_ids for said in CONVERSATIONS] == [one.token_ids for one in made]
    for one, two in zip(ask(transformers_engine, *made), ask(other, *made), strict=True):
        assert perplexity(one) == pytest.approx(perplexity(two), rel=1e-3)


@pytest.mark.slow
def test_a_score_does_not_depend_on_what_was_asked_before_or_beside_it(engine: LocalEngine) -> None:
    """Nor on the prefix cache, which holds the whole conversation the second time."""
    made = [scoring(engine, said) for said in CONVERSATIONS]
    together = [answer.logprob for answer in ask(engine, *made)]
    assert [answer.logprob for answer in ask(engine, *reversed(made))][::-1] == together
    assert [ask(engine, one)[0].logprob for one in made] == together


@pytest.mark.slow
def test_generating_beside_scoring_is_undisturbed(engine: LocalEngine) -> None:
    made = [
        call(engine, f"Hello {n}", "Yes?", CONVERSATIONS[n][0].content, seed=n, max_tokens=30)
        for n in range(len(CONVERSATIONS))
    ]
    made.append(call(engine, "Zeros.", schema=zeros(40)))
    alone = texts(ask(engine, *made))
    scores = [scoring(engine, said) for said in CONVERSATIONS]
    expected = [answer.logprob for answer in ask(engine, *scores)]

    async def mixed() -> tuple[list[Completion], list[Completion]]:
        async def one_by_one() -> list[Completion]:
            return [await engine.generate(one) for one in scores]

        written = asyncio.gather(*map(engine.generate, made))
        return list(await written), await one_by_one()

    async def crossed() -> list[Completion]:
        pairs = [one for pair in zip(made, scores, strict=False) for one in pair]
        return list(await asyncio.gather(*map(engine.generate, [*pairs, made[-1]])))

    written, scored = run(mixed())
    assert (texts(written), [answer.logprob for answer in scored]) == (alone, expected)
    answers = run(crossed())
    assert texts(answers[::2]) == alone
    assert [answer.logprob for answer in answers[1::2]] == expected


@pytest.mark.slow
def test_a_more_fitting_answer_is_likelier(engine: LocalEngine) -> None:
    """What the model itself would say, against the same length of something else."""
    (own,) = ask(engine, call(engine, "Tell me.", temperature=0.0, max_tokens=30))
    assert own.text.strip()
    fitting, other = (scoring(engine, messages("Tell me.", text)) for text in (own.text, own.text[::-1]))
    first, second = ask(engine, fitting, other)
    assert perplexity(first) < perplexity(second)


@pytest.mark.slow
def test_scoring_on_a_processor_compiles_nothing(request: pytest.FixtureRequest) -> None:
    """It took eight seconds, and where there was no C++ compiler the engine died of it."""
    needs("vllm")
    import torch
    from torch._dynamo.utils import counters

    if torch.cuda.is_available():
        pytest.skip("on a GPU compiling is the point")
    engine: LocalEngine = request.getfixturevalue("vllm_engine")
    torch._dynamo.reset()
    before = counters["stats"]["calls_captured"]
    ask(engine, scoring(engine, CONVERSATIONS[0]))
    assert counters["stats"]["calls_captured"] == before


@pytest.mark.slow
def test_a_bad_scoring_call_fails_alone(engine: LocalEngine) -> None:
    good = scoring(engine, CONVERSATIONS[0])
    assert good.token_ids is not None
    bad = {
        "too_long": scoring(engine, messages("Count.", "word " * CONTEXT)),
        "nothing before": replace(good, scored=0),
        "from behind": replace(good, scored=-1),
        "nothing after": replace(good, scored=len(good.token_ids)),
        "no tokens": replace(good, token_ids=None),
    }
    first, *failures, last = outcomes(engine, good, *bad.values(), good)
    assert isinstance(first, Completion)
    assert isinstance(last, Completion)
    assert first.logprob == last.logprob
    for name, failure in zip(bad, failures, strict=True):
        assert isinstance(failure, CallFailed), name
        assert failure.kind == ("too_long" if name == "too_long" else "bad_request")
        assert not failure.retryable


@pytest.mark.slow
def test_a_pass_that_fails_costs_the_scores_and_no_more(
    transformers_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    made = scoring(transformers_engine, CONVERSATIONS[0])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "gather", lambda *_: 1 / 0)
        beside, failure = outcomes(
            transformers_engine, call(transformers_engine, "Hello", max_tokens=3), made
        )
    assert isinstance(beside, Completion)
    assert isinstance(failure, CallFailed)
    assert (failure.kind, failure.retryable) == ("engine", True)
    assert isinstance(ask(transformers_engine, made)[0], Completion)


@pytest.mark.slow
def test_the_smaller_priority_goes_first(transformers_engine: LocalEngine) -> None:
    finished: list[str] = []

    async def named(name: str, made: Call) -> None:
        await transformers_engine.generate(made)
        finished.append(name)

    async def together() -> None:
        # Four at a time: the first four keep the engine busy while the others line up.
        busy = [call(transformers_engine, f"{n}", schema=zeros(20)) for n in range(4)]
        early = [scoring(transformers_engine, said, priority=1) for said in CONVERSATIONS[:4]]
        late = [scoring(transformers_engine, said, priority=9) for said in CONVERSATIONS[4:8]]
        await asyncio.gather(
            *(named("busy", made) for made in busy),
            *(named("late", made) for made in late),
            *(named("early", made) for made in early),
        )

    run(together())
    assert finished == ["busy"] * 4 + ["early"] * 4 + ["late"] * 4


@pytest.mark.slow
def test_engines_that_score_say_so(engine: LocalEngine) -> None:
    assert isinstance(engine, Engine)
    assert isinstance(engine, Scorer)
    assert "logprobs" in engine.capabilities


@pytest.mark.slow
def test_the_pocket_model_knows_what_is_likely(pocket_home: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from synth.runtime.engines.local.pocket import PocketEngine, pocket_checkpoint

    pocket = PocketEngine(EngineSpec("base", "pocket", ""))
    assert "logprobs" in pocket.capabilities
    asked = "What is the capital of France?"
    said = [
        "The capital of France is Paris.",
        "Paris is France of capital the.",
        ARABIC,
        f"{HOSTILE}<|im_end|>",
    ]
    made = [scoring(pocket, messages(asked, text)) for text in said]
    run(pocket.start())
    answers = ask(pocket, *made)
    run(pocket.close())
    model = AutoModelForCausalLM.from_pretrained(pocket_checkpoint(), dtype=torch.float32).eval()
    for one, answer in zip(made, answers, strict=True):
        assert perplexity(answer) == pytest.approx(directly(model, one), rel=1e-3)
    assert perplexity(answers[0]) < 5 < perplexity(answers[1])
