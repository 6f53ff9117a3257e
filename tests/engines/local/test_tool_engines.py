"""Tools in engines on this machine: from the prompt to the call and back, with a real model in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import synth
from synth.base.errors import EngineError
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import ToolPlan
from synth.runtime.calls.models import Models
from synth.runtime.engines import open_engine
from synth.runtime.engines.base import Call, EngineSpec, Message, ToolCall
from synth.runtime.engines.local.thread import LocalEngine
from synth.runtime.settings import Settings
from tests.kit.models.calls import ask, run
from tests.kit.models.tiny_caller import CALLED, SAID

pytestmark = pytest.mark.slow

TOOL = ToolPlan(
    name="lookup", description="Looks an order up.", parameters={"type": "object", "properties": {}}
)
ASKED = (Message("user", "Where is A-1?"),)
LOOKUP = ToolCall(CALLED[0], CALLED[1])
ANSWERED = (*ASKED, Message("model", "", (LOOKUP,)), Message("tool", "sent <|im_end|>#", name="lookup"))
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def spec(backend: str, checkpoint: Path, **options: Any) -> EngineSpec:
    own = {"max_num_seqs": 8, "kv_cache_gb": 0.25, "dtype": "float32"} if backend == "vllm" else {}
    return EngineSpec("agent", backend, str(checkpoint), options={"threads": 1, **own, **options})


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def engine(request: pytest.FixtureRequest, tiny_caller: Path) -> Iterator[LocalEngine]:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    made = open_engine(spec(request.param, tiny_caller))
    assert isinstance(made, LocalEngine)
    run(made.start())
    yield made
    run(made.close())


def call(engine: LocalEngine, messages: tuple[Message, ...], **changes: Any) -> Call:
    made = Call(
        key="",
        messages=messages,
        token_ids=engine.render(messages, (TOOL.definition,)),
        schema=None,
        sampling=Sampling(max_tokens=20),
        seed=1,
        tools=(TOOL.definition,),
    )
    return replace(made, **changes)


def test_a_model_calls_and_then_speaks(engine: LocalEngine) -> None:
    assert "tools" in engine.capabilities
    first, last, rendered = ask(
        engine, call(engine, ASKED), call(engine, ANSWERED), call(engine, ASKED, token_ids=None)
    )
    assert (first.text, first.thought, first.finish_reason) == ("", "An order.", "stop")
    assert first.calls == (LOOKUP,)
    assert (last.text, last.calls, last.malformed) == (SAID, (), None)
    assert (rendered.calls, rendered.prompt_tokens) == (first.calls, first.prompt_tokens)


def test_who_may_call_is_kept_to_no_schema(engine: LocalEngine) -> None:
    (answer,) = ask(engine, call(engine, ASKED, schema=SCHEMA))
    assert answer.calls == (LOOKUP,)


def test_a_call_that_is_cut_says_so(engine: LocalEngine) -> None:
    body, whole = ask(
        engine,
        *(call(engine, ASKED, sampling=Sampling(max_tokens=tokens)) for tokens in (3, 4)),
    )
    assert body.malformed == "the answer was cut at the limit of tokens in the middle of a call"
    assert body.text.endswith("}}\n")
    assert whole.malformed == "the answer was cut at the limit of tokens after `lookup` was called"


def test_without_tools_the_text_is_as_ever(engine: LocalEngine) -> None:
    """Special tokens are no part of it."""
    (answer,) = ask(engine, call(engine, ASKED, tools=()))
    assert "<tool_call>" not in answer.text
    assert '"lookup"' in answer.text
    assert (answer.calls, answer.malformed) == ((), None)


def test_parsers_by_name(engine: LocalEngine, tiny_caller: Path) -> None:
    backend = engine.identity.backend
    assert "tools" in open_engine(spec(backend, tiny_caller, tool_parser="hermes")).capabilities
    wrong = (
        r"`tool_parser`.*'hermes'"
        if backend == "transformers"
        else "no `tool_parser` named `mistrl`.*`mistral`"
    )
    with pytest.raises(EngineError, match=wrong):
        open_engine(spec(backend, tiny_caller, tool_parser="mistrl"))


def test_parsers_of_vllm(engine: LocalEngine, tiny_caller: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if engine.identity.backend != "vllm":
        pytest.skip("they are vLLM's")
    with pytest.raises(EngineError, match="`tool_parser` `jamba` does not fit this model"):
        open_engine(spec("vllm", tiny_caller, tool_parser="jamba"))
    made = open_engine(spec("vllm", tiny_caller, tool_parser="xlam"))
    assert isinstance(made, LocalEngine)
    assert made.identity.request == {"tool_parser": "xlam"}
    reader = made._reader
    assert reader is not None
    (answer,) = ask(engine, call(engine, ASKED, tools=()))

    def read(text: str) -> Any:
        return reader.read(replace(answer, text=text), call(engine, ASKED))

    assert read('[{"name": "lookup", "arguments": {"number": "A-1"}}]').calls == (LOOKUP,)
    assert read("It is sent.").text == "It is sent."
    assert "`xlam` reads no call in what has `<tool_call>` in it" in str(read("<tool_call>\n{").malformed)
    assert capfd.readouterr().err == ""


RECIPE = """edition 1

recipe shop {{ seed = 1 }}

model agent: model<chat> from {where}

conversation talk times 1 {{
  turn ask: user = "Where is A-1?"
  turn reply: model by agent {{ sees = transcript }}
}}

export train: messages from talk to "out/train"
"""


def with_tools(folder: Path, where: str) -> Plan:
    (folder / "shop.recipe").write_text(RECIPE.format(where=where), "utf-8")
    plan = synth.compile(folder / "shop.recipe")
    (cohort,) = plan.cohorts
    steps = [
        step if step.model is None else step.model_copy(update={"tools": (TOOL,), "max_tool_calls": 2})
        for step in cohort.steps
    ]
    return plan.model_copy(update={"cohorts": (cohort.model_copy(update={"steps": tuple(steps)}),)})


def test_a_model_that_can_call_none_is_refused_before_the_first_call(
    tiny_gemma: Path, tmp_path: Path
) -> None:
    plan = with_tools(tmp_path, f'transformers("{tiny_gemma}")')
    with pytest.raises(EngineError) as caught:
        Models(plan, Settings())
    assert str(caught.value) == (
        f"`reply` calls tools, and its model `agent` runs on transformers:{tiny_gemma}, whose chat template "
        "takes no tools: map `agent` to a model that calls tools, such as Qwen 2.5, Qwen 3, Llama 3.1 or "
        "a hosted one"
    )
    # Who only looks at a log asks nobody.
    Models(plan, Settings(), asked=False)


def test_a_model_that_calls_is_taken(tiny_caller: Path, tmp_path: Path) -> None:
    Models(with_tools(tmp_path, f'transformers("{tiny_caller}")'), Settings())
