"""Who a checkpoint in a folder is: what is in it, not where it lies."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synth.base.errors import EngineError
from synth.runtime.engines.base import EngineSpec, ModelIdentity
from synth.runtime.engines.local.checkpoint import named_weights
from tests.evaluation.helpers import DIRECT, evaluation, project
from tests.kit.models.fixtures import needs

FILES = {
    "config.json": "{}",
    "model.safetensors": "weights",
    "tokenizer.json": "{}",
    "training_args.bin": "when it was made",
    "README.md": "a card",
    "checkpoint-5/model.safetensors": "on the way",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/synth/weights"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "ckpt" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ckpt" / name).write_text(content)
        # Long ago, so that what is known of it can be kept.
        os.utime(tmp_path / "ckpt" / name, (1_700_000_000, 1_700_000_000))
    return tmp_path / "ckpt"


def named(folder: Path, revision: str | None = None, adapter: str | None = None) -> str | None:
    return named_weights(EngineSpec("base", "transformers", str(folder), revision, adapter))


def test_what_it_answers_with_names_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    first = named(folder)
    assert first is not None
    # Not where it lies, nor what lies beside it.
    moved = shutil.copytree(folder, tmp_path / "copy")
    for name in ("README.md", "training_args.bin", "checkpoint-5/model.safetensors"):
        (moved / name).write_text("other")
    assert named(moved) == first
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        before = (moved / name).read_text()
        (moved / name).write_text("x" * len(before))
        assert named(moved) != first
        (moved / name).write_text(before)
    (moved / "model.safetensors").rename(moved / "other.safetensors")
    assert named(moved) != first


def test_an_adapter_is_named_as_well(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_text("a")
    with_it = named(folder, adapter=str(adapter))
    (adapter / "adapter_model.safetensors").write_text("b")
    assert len({named(folder), with_it, named(folder, adapter=str(adapter))}) == 3
    # A pinned model with an adapter in a folder is named by the adapter alone.
    assert named(folder, adapter=str(adapter), revision="1") not in (None, with_it)


def test_what_a_revision_or_the_hub_names_stays_as_it_was(folder: Path) -> None:
    assert named(folder, revision="1") is None
    assert named_weights(EngineSpec("base", "vllm", "google/gemma-3-1b-it")) is None
    identity = ModelIdentity(backend="vllm", id="google/gemma-3-1b-it", revision="1")
    assert identity.model_dump(mode="json") == {
        "backend": "vllm",
        "id": "google/gemma-3-1b-it",
        "revision": "1",
        "adapter": None,
        "template": None,
    }


def test_files_are_hashed_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth.runtime.engines.local.weights._SETTLED_NS", 0)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(named, [folder] * 8))) == 1
    entries = {path: json.loads(path.read_text()) for path in cache.iterdir()}
    assert {Path(entry["path"]).name for entry in entries.values()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    # What is known is believed, as long as the file is the same.
    place = next(path for path, entry in entries.items() if entry["path"].endswith("model.safetensors"))
    first = named(folder)
    place.write_text(json.dumps(entries[place] | {"sha256": "believed"}))
    assert named(folder) != first
    (folder / "model.safetensors").write_text("weights")
    assert named(folder) == first
    place.write_text("damaged {")
    assert named(folder) == first


def test_a_cache_that_cannot_be_written_costs_time_alone(folder: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file in its place")
    assert named(folder) == named(folder)


def test_a_path_without_a_checkpoint_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run/checkpoint-9").mkdir(parents=True)
    (tmp_path / "run/checkpoint-9/config.json").write_text("{}")
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora/adapter_config.json").write_text("{}")
    for path, told in (
        (folder / "model.safetensors", "which is a file: give the folder that it is in"),
        (tmp_path / "nowhere", "and there is no such directory"),
        (tmp_path / "run", f"which holds no config.json: did you mean `{tmp_path}/run/checkpoint-9`?"),
        (tmp_path / "lora", "which holds no config.json: it is an adapter, so give the model"),
        (folder / "checkpoint-5", "which holds no config.json: give the folder of a saved checkpoint"),
    ):
        with pytest.raises(EngineError) as raised:
            named(path)
        assert told in str(raised.value)
        assert str(raised.value).startswith(f"`base` is to run on `{path}`")


def test_a_student_that_was_trained_anew_is_asked_anew(tiny_gemma: Path, tmp_path: Path) -> None:
    needs("safetensors")
    from safetensors.torch import load_file, save_file

    made = project(tmp_path, DIRECT.replace("times 10", "times 2") + evaluation("emoji(at_most = 100%)"))
    made.tell({"direct": ["plain"] * 2})
    checkpoint = shutil.copytree(tiny_gemma, tmp_path / "ckpt")

    def issued() -> int:
        found = made.evaluate("--student", "transformers:./ckpt", "--limit", "1", "--json")
        assert found.status == 0, found.err
        return sum(step["issued"] for run in found.json()["runs"] for step in run["steps"])

    assert (issued(), issued()) == (1, 0)
    weights = {name: value * 1.5 for name, value in load_file(checkpoint / "model.safetensors").items()}
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert (issued(), issued()) == (1, 0)
