"""The tokens that carry loss in TRL's own batches are those of the trained turns, each with the
token that closes it, for every form that the README and the starter name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from synth.compiler.compile import compile_text
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

RECIPE = """edition 1
recipe loss { seed = 5 }
model base: model<chat> from simulated()
conversation talk times 4 {
  turn hello: user = "Hello."
  turn reply: model by base { prompt = "{{ hello }}" }
  turn ask: user = "What?"
  turn answer: model by base {
    prompt = "{{ ask }}"
    check { length(1..60) }
    retry = 3
  }
  train_on = TRAINED
}
preference found from talk {
  chosen = talk.answer
  rejected = attempts(talk.answer)
}
export train: FORM to "out/train" { OPTIONS }
"""
BOTH = "[reply, answer]"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# What closes a turn in each template; the line's end after it is a part of the turn too.
CLOSING = {"alternating": "<end_of_turn>", "gemma": "<end_of_turn>", "chatml": "<|im_end|>"}


def values(number: int) -> dict[str, str]:
    return {
        "hello": f"Hello, it is {number}.",
        "reply": f"Welcome, {number}.  Who is it?",
        "ask": "What is a persona for?",
        "answer": f"It is for {number} users; the model says what it is.",
    }


def made(folder: Path, form: str, trained: str = "[answer]", options: str = "") -> Dataset:
    """A dataset whose turns are known; one attempt in every other sample was refused."""
    text = RECIPE.replace("FORM", form).replace("TRAINED", trained).replace("OPTIONS", options)
    plan = compile_text(text).plan
    story = Story(plan)
    for slot in all_slots(plan, "talk"):
        number = slot.position
        refused = {"answer": [(f"Well, it may be {number}.", "length")]} if number % 2 else None
        story.complete(plan.cohort("talk"), slot, values(number), refused=refused)
    with Log(story.write(folder / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, folder)
    return dataset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


def tokenizer(checkpoint: Path, template: str) -> Any:
    """The tiny model's tokenizer with its own template, Gemma's as TRL knows it, or ChatML."""
    from transformers import AutoTokenizer
    from trl.chat_template_utils import gemma3_chat_template

    found: Any = AutoTokenizer.from_pretrained(str(checkpoint))
    if template != "alternating":
        found.chat_template = CHATML if template == "chatml" else gemma3_chat_template
    return found


def batches(
    method: str, dataset: Dataset, checkpoint: Path, template: str, home: Path, **options: Any
) -> Any:
    """The first batch of a trainer, which holds all rows, as its own collator makes it."""
    import trl
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM

    loaded: Any = load_dataset(str(dataset.folder), cache_dir=str(home / "cache"))
    trainer: Any = getattr(trl, f"{method}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(str(checkpoint)),
        processing_class=tokenizer(checkpoint, template),
        train_dataset=loaded["train"],
        args=getattr(trl, f"{method}Config")(
            output_dir=str(home / "trained"),
            per_device_train_batch_size=16,
            use_cpu=True,
            bf16=False,
            report_to=[],
            **options,
        ),
    )
    return next(iter(trainer.get_train_dataloader()))


def with_loss(batch: Any) -> list[list[int]]:
    """Each row's tokens that carry loss, in some order of the rows."""
    if "labels" in batch:
        return sorted(labels[labels != -100].tolist() for labels in batch["labels"])
    masked = zip(batch["input_ids"], batch["completion_mask"], strict=True)
    return sorted(ids[mask.bool()].tolist() for ids, mask in masked)


def as_tokens(found: Sequence[str], checkpoint: Path, template: str) -> list[list[int]]:
    """What texts are as tokens, closed as the template closes a turn."""
    of = tokenizer(checkpoint, template)
    return sorted(
        of(text.replace("|", f"{CLOSING[template]}\n"), add_special_tokens=False)["input_ids"]
        for text in found
    )


def answers(*turns: str) -> Iterator[str]:
    return ("".join(f"{values(number)[turn]}|" for turn in turns) for number in range(4))


@pytest.mark.parametrize("template", CLOSING)
@pytest.mark.parametrize(("trained", "options"), [("[answer]", ""), (BOTH, "format = parquet")])
def test_prompt_completion(template: str, trained: str, options: str, home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "prompt_completion from talk", trained, options)
    batch = batches("SFT", dataset, tiny_gemma, template, home)
    turns = ["answer"] if trained != BOTH else ["reply", "answer"]
    wanted = [text for turn in turns for text in answers(turn)]
    assert with_loss(batch) == as_tokens(wanted, tiny_gemma, template)
    assert dataset.advice is None


def test_messages_of_which_all_that_the_model_says_is_trained_on(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "messages from talk", BOTH)
    batch = batches("SFT", dataset, tiny_gemma, "gemma", home, assistant_only_loss=True)
    assert with_loss(batch) == as_tokens([*answers("reply", "answer")], tiny_gemma, "gemma")
    assert dataset.advice is not None
    assert "assistant_only_loss" in dataset.advice


def test_messages_train_too_much_where_a_turn_is_not_to_be_trained_on(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "messages from talk")
    all_of_it = batches("SFT", dataset, tiny_gemma, "gemma", home)
    assert (all_of_it["labels"] != -100).sum() == all_of_it["attention_mask"].sum()
    batch = batches("SFT", dataset, tiny_gemma, "gemma", home, assistant_only_loss=True)
    assert with_loss(batch) == as_tokens([*answers("reply", "answer")], tiny_gemma, "gemma")
    assert dataset.advice is not None
    assert "to train on `answer` alone, export `prompt_completion`" in dataset.advice


def test_pairs_for_dpo(home: Path, tiny_gemma: Path) -> None:
    batch = batches("DPO", made(home, "preference from found"), tiny_gemma, "gemma", home)
    accepted = [text for number, text in enumerate(answers("answer")) if number % 2]
    refused = [f"Well, it may be {number}.|" for number in (1, 3)]
    assert with_loss(batch) == as_tokens([*accepted, *refused], tiny_gemma, "gemma")


def test_unpaired_for_kto(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "unpaired from talk")
    batch = batches("KTO", dataset, tiny_gemma, "gemma", home)
    refused = [f"Well, it may be {number}.|" for number in (1, 3)]
    assert with_loss(batch) == as_tokens([*answers("answer"), *refused], tiny_gemma, "gemma")
    assert sorted(batch["label"]) == sorted(row["label"] for row in rows(dataset.folder / "train.jsonl"))


@pytest.mark.parametrize(
    ("form", "options"), [("sharegpt from talk", ""), ("messages from talk", "roles = model")]
)
def test_forms_that_templates_by_turns_refuse(form: str, options: str, home: Path, tiny_gemma: Path) -> None:
    from jinja2 import TemplateError

    dataset = made(home, form, BOTH, options)
    with pytest.raises(TemplateError, match="must alternate"):
        batches("SFT", dataset, tiny_gemma, "alternating", home)


def test_roles_that_gemma_takes_have_nothing_that_trl_trains_on(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "messages from talk", BOTH, "roles = model")
    with pytest.raises(RuntimeError, match="no assistant tokens"):
        batches("SFT", dataset, tiny_gemma, "gemma", home, assistant_only_loss=True)
