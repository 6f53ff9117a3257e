"""Rows in the forms that trainers are to read, made by a recipe, and a tokenizer of bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

OPENING, CLOSING = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
RECIPE = """edition 1
recipe trainers { seed = 5 }
model base: model<chat> from simulated()
conversation last times 4 {
  turn hello: user = "Hello, it is {{ nth }}."
  turn reply: model by base { prompt = "{{ hello }}" }
  turn ask: user = "What are you?"
  turn answer: model by base { prompt = "{{ ask }}" }
  train_on = [answer]
}
conversation both times 4 {
  turn hello: user = "Hello, it is {{ nth }}."
  turn reply: model by base { prompt = "{{ hello }}" }
  turn ask: user = "What are you?"
  turn answer: model by base { prompt = "{{ ask }}" }
  train_on = [reply, answer]
}
preference padded from last {
  turn longer: model by base { prompt = "Pad: {{ last.ask }}" }
  chosen = last.answer
  rejected = longer
}
export messages: messages from last to "messages"
export messages_both: messages from both to "messages_both"
export sharegpt: sharegpt from last to "sharegpt"
export preference: preference from padded to "preference"
export sharegpt_preference: sharegpt_preference from padded to "sharegpt_preference"
"""


def make(folder: Path) -> dict[str, list[str]]:
    """Writes the rows of each form below `folder`, and a tokenizer into `folder/tokenizer`; gives
    what is to be trained on in each row of each form, every turn with the token that closes it."""
    import synth

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "trainers.recipe").write_text(RECIPE, "utf-8")
    plan = synth.compile(folder / "trainers.recipe")
    synth.run(plan, log=folder / "synth.duckdb", backend="simulated")
    datasets = synth.materialize(plan, log=folder / "synth.duckdb", out=folder)
    _tokenizer().save_pretrained(folder / "tokenizer")
    return {dataset.export.name: [_trained(row) for row in dataset] for dataset in datasets}


def _trained(row: dict[str, Any]) -> str:
    if "chosen" in row:
        sides = [row[name] if isinstance(row[name], list) else [row[name]] for name in ("chosen", "rejected")]
        return "".join(_content(message) + CLOSING for side in sides for message in side)
    messages = row.get("messages") or row["conversations"]
    return "".join(_content(message) + CLOSING for message in messages if message["weight"])


def _content(message: dict[str, Any]) -> str:
    return str(message["content"] if "content" in message else message["value"])


def _tokenizer() -> Any:
    """A token for each byte, and the control tokens of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<eos>", OPENING, CLOSING]
    numbers = {token: number for number, token in enumerate([*special, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=numbers, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=[OPENING, CLOSING],
        chat_template=TEMPLATE,
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
