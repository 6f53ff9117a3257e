"""Models as values, checked when they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import synth
from synth import models
from synth.compiler.outside.backends import BACKENDS
from synth.runtime.engines import options_of
from tests.kit.support import QUICKSTART

KINDS: dict[str, Any] = {
    "vllm": (synth.Vllm, models.VllmOptions),
    "transformers": (synth.Transformers, models.TransformersOptions),
    "openai": (synth.OpenAI, models.OpenAIOptions),
    "gemini": (synth.Gemini, models.GeminiOptions),
    "pocket": (synth.Pocket, models.TransformersOptions),
    "simulated": (synth.Simulated, models.SimulatedOptions),
}


def test_every_backend_is_a_model_with_the_options_of_synth_toml() -> None:
    assert set(KINDS) == set(BACKENDS)
    for backend, (kind, options) in KINDS.items():
        assert kind.backend == backend
        assert options.__optional_keys__ == set(options_of(backend).model_fields)


def test_an_option_is_checked_when_the_model_is_made() -> None:
    with pytest.raises(
        synth.EngineError,
        match="the vllm backend has no option `max_modle_len`; did you mean `max_model_len`",
    ):
        synth.Vllm("google/gemma-3-1b-it", max_modle_len=1024)  # type: ignore[call-arg]
    with pytest.raises(synth.EngineError, match="option `timeout` is wrong"):
        synth.OpenAI("gpt-4o", timeout=0)
    given = synth.Vllm("google/gemma-3-1b-it", revision="abc", max_model_len=1024)
    assert repr(given) == "Vllm('google/gemma-3-1b-it', revision='abc', max_model_len=1024)"
    assert given == synth.Vllm("google/gemma-3-1b-it", revision="abc", max_model_len=1024)
    assert given != synth.Vllm("google/gemma-3-1b-it", revision="abd", max_model_len=1024)
    assert repr(synth.Pocket()) == "Pocket()"


def test_a_model_runs_where_it_is_placed(tmp_path: Path) -> None:
    plan = synth.compile(QUICKSTART, conversations=2)
    log = tmp_path / "synth.duckdb"
    report = synth.run(plan, log=log, models={"base": synth.Simulated("one")})
    assert report.warnings == ("`base` is simulated: its answers are a simulation, not data",)
    # Who answers is part of a call: another name answers anew, the same one from the log.
    again = synth.run(plan, log=log, models={"base": synth.Simulated("two", concurrency=4)})
    assert again.counts["steps"][0]["issued"] == 2
    assert synth.run(plan, log=log, models={"base": synth.Simulated("one")}).counts["steps"][0]["issued"] == 0
    # In one's own way each: what `backend` says of all.
    for given in ({"backend": "simulated"}, {"simulate": True}):
        everywhere = synth.run(plan, log=tmp_path / "all.duckdb", **given)
    assert everywhere.counts["steps"][0]["issued"] == 0


def test_models_that_are_no_models_are_refused_in_a_sentence(tmp_path: Path) -> None:
    plan = synth.compile(QUICKSTART)
    faults: list[tuple[dict[str, Any], str]] = [
        ({"models": ["base=openai:gpt-4o"]}, r"`models` says where models run by their names .*synth.Vllm\("),
        ({"models": {"base": "openai:gpt-4o"}}, "`models` says where models run by their names"),
        (
            {"models": {"bass": synth.Pocket()}},
            "models: the recipe uses no model `bass`; did you mean `base`?",
        ),
        ({"backend": "openai"}, '`backend` is "pocket" or "simulated"; name the others by model'),
        ({"backend": "pocket", "simulate": True}, "give one `backend`"),
    ]
    for given, said in faults:
        with pytest.raises(synth.ConfigError, match=said):
            synth.run(plan, log=tmp_path / "synth.duckdb", **given)
    with pytest.raises(synth.ConfigError, match="`student` is a model, such as"):
        synth.evaluate(plan, log=tmp_path / "synth.duckdb", student="simulated:s")  # type: ignore[arg-type]
    assert not (tmp_path / "synth.duckdb").exists()
