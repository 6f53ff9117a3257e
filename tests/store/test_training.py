"""Pairs and refused attempts go into TRL's trainers as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.compiler.compile import compile_text
from synth.store.dataset.materialize import materialize
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.store.log.logs import Story, all_slots

RECIPE = """edition 1
recipe training { seed = 5 }
model base: model<chat> from simulated()
conversation direct times 8 {
  turn hello: user = "Hello."
  turn reply: model by base { prompt = "{{ hello }}" }
  turn ask: user = "What?"
  turn answer: model by base {
    prompt = "{{ ask }}"
    check { length(1..40) }
    retry = 3
  }
}
preference found from direct {
  chosen = direct.answer
  rejected = attempts(direct.answer)
}
export pairs: preference from found to "out/pairs"
export refused: rejected from direct to "out/refused"
"""


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The datasets of pairs and of refused attempts."""
    plan = compile_text(RECIPE).plan
    story = Story(plan)
    for slot in all_slots(plan, "direct"):
        number = slot.position
        values = {"hello": "Hello.", "reply": "Hi.", "ask": "What?", "answer": f"It is {number}."}
        refused = {"answer": [(f"Well, well, it may be {number}.", "length")]}
        story.complete(plan.cohort("direct"), slot, values, refused=refused)
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        return [dataset.folder for dataset in materialize(plan, log, tmp_path)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("trained", ["DPO", "KTO"])
def test_a_trainer_takes_a_step(
    trained: str, folders: list[Path], tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import trl
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = folders[trained == "KTO"]
    loaded: Any = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny_gemma))
    arguments = getattr(trl, f"{trained}Config")(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
    )
    before = next(model.parameters()).detach().clone()
    trainer: Any = getattr(trl, f"{trained}Trainer")(
        model=model,
        args=arguments,
        train_dataset=loaded["train"],
        processing_class=AutoTokenizer.from_pretrained(str(tiny_gemma)),
    )
    assert trainer.train().global_step == 1
    assert not before.equal(next(trainer.model.parameters()).detach().cpu())
