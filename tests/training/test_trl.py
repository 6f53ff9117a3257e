"""What is materialized goes into `datasets` and TRL as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import synth
from tests.kit.models.fixtures import needs
from tests.kit.support import PERSONA, RECIPES

PARAMS = {"base_revision": "0000000", "conversations": 24}


def dataset(folder: Path, form: str) -> Path:
    """The training file of a simulated persona dataset in some form."""
    recipe = folder / "persona.recipe"
    recipe.write_text(PERSONA.read_text("utf-8").replace("train: prompt_completion", f"train: {form}"))
    plan = synth.compile(recipe, **PARAMS)
    synth.run(plan, log=folder / "synth.duckdb", backend="simulated")
    (written,) = synth.materialize(plan, log=folder / "synth.duckdb", out=folder)
    return written.folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", ["messages", "prompt_completion"])
def test_sft_takes_a_step_on_a_dataset(
    form: str, tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    folder = dataset(tmp_path, form)
    files = {"train": str(folder / "train.jsonl"), "eval": str(folder / "eval.jsonl")}
    loaded: Any = load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows + loaded["eval"].num_rows == 24
    # The folder's own card says the same to `load_dataset`.
    by_card: Any = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert by_card["train"][0] == loaded["train"][0]

    columns = {"messages"} if form == "messages" else {"prompt", "completion"}
    train = loaded["train"].remove_columns([c for c in loaded["train"].column_names if c not in columns])
    assert_a_step("SFT", train, tiny_gemma, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_sft_and_dpo_take_a_step_on_the_pillars(
    tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    shutil.copytree(RECIPES, tmp_path / "recipes")
    plan = synth.compile(tmp_path / "recipes/pillars.recipe")
    log = tmp_path / "synth.duckdb"
    synth.run(plan, log=log, backend="simulated", limit=12)
    sft, pairs = synth.materialize(plan, log=log, out=tmp_path, partial=True)
    mixed: Any = load_dataset(str(sft.folder), cache_dir=str(tmp_path / "cache"))
    assert set(mixed["train"].column_names) == {"id", "messages", "source", "tags"}
    paired: Any = load_dataset(str(pairs.folder), cache_dir=str(tmp_path / "cache"))
    assert paired["train"].num_rows == 12
    assert_a_step("SFT", mixed["train"].remove_columns(["id", "source", "tags"]), tiny_gemma, tmp_path)
    assert_a_step("DPO", paired["train"], tiny_gemma, tmp_path)


def assert_a_step(method: str, train: Any, checkpoint: Path, folder: Path) -> None:
    """One step of a trainer changes the model."""
    import trl
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    model: Any = (
        AutoModelForSequenceClassification.from_pretrained(str(checkpoint), num_labels=1)
        if method == "Reward"
        else AutoModelForCausalLM.from_pretrained(str(checkpoint))
    )
    before = next(model.parameters()).detach().clone()
    trainer: Any = getattr(trl, f"{method}Trainer")(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(str(checkpoint)),
        train_dataset=train,
        args=getattr(trl, f"{method}Config")(
            output_dir=str(folder / "trained"),
            max_steps=1,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
        ),
    )
    result = trainer.train()
    assert result.global_step == 1
    assert result.training_loss > 0
    assert not before.equal(next(trainer.model.parameters()).detach().cpu())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_was_judged_trains_by_each_method(
    tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    shutil.copytree(RECIPES, tmp_path / "recipes")
    plan = synth.compile(tmp_path / "recipes/judged.recipe")
    log = tmp_path / "synth.duckdb"
    synth.run(plan, log=log, backend="simulated")
    sft, pairs, unpaired = (
        load_dataset(str(each.folder), cache_dir=str(tmp_path / "cache"))["train"]
        for each in synth.materialize(plan, log=log, out=tmp_path)
    )
    assert_a_step("SFT", sft.select_columns(["messages"]), tiny_gemma, tmp_path)
    both = pairs.select_columns(["prompt", "chosen", "rejected"])
    assert_a_step("DPO", both, tiny_gemma, tmp_path)
    assert_a_step("Reward", both, tiny_gemma, tmp_path)
    assert_a_step("KTO", unpaired.select_columns(["prompt", "completion", "label"]), tiny_gemma, tmp_path)
