"""What is materialized goes into `datasets` and TRL as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import synth
from tests.models.fixtures import needs
from tests.support import PERSONA

PARAMS = {"base_revision": "0000000", "conversations": 24}


def dataset(folder: Path, form: str) -> Path:
    """The training file of a simulated persona dataset in some form."""
    recipe = folder / "persona.recipe"
    recipe.write_text(PERSONA.read_text("utf-8").replace("export train: messages", f"export train: {form}"))
    plan = synth.compile(recipe, **PARAMS)
    synth.run(plan, log=folder / "synth.duckdb", simulate=True)
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
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    folder = dataset(tmp_path, form)
    files = {"train": str(folder / "train.jsonl"), "eval": str(folder / "eval.jsonl")}
    loaded: Any = load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows + loaded["eval"].num_rows == 24
    # The folder's own card says the same to `load_dataset`.
    by_card: Any = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert by_card["train"][0] == loaded["train"][0]

    columns = {"messages"} if form == "messages" else {"prompt", "completion"}
    train = loaded["train"].remove_columns([c for c in loaded["train"].column_names if c not in columns])
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny_gemma))
    tokenizer: Any = AutoTokenizer.from_pretrained(str(tiny_gemma))
    before = next(model.parameters()).detach().clone()
    trainer: Any = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=train,
        args=SFTConfig(
            output_dir=str(tmp_path / "trained"),
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
