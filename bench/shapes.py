"""Gemma-3-shaped models without weights: a config and a tokenizer made on the spot.

vLLM fills the weights with noise (`load_format="dummy"`), so every token is about as likely as any
other.  The share of tokens that end an answer then sets how long answers are: lengths fall off
as with a real model's, and differ from call to call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.models.tiny_gemma import CHAT_TEMPLATE, SPECIAL_TOKENS

CONTEXT = 2048
_GLOBAL_EVERY = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's size.  `gib` is what its weights take in bfloat16, `samples` how many chains of four
    calls are a fair load, `seats` how many calls run together, `tokens` the mean of an answer."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    window: int
    vocabulary: int
    gib: float
    samples: int
    seats: int
    tokens: int

    def options(self, gpu: bool) -> dict[str, Any]:
        """What `synth.toml` says of the model."""
        given: dict[str, Any] = {
            "load_format": "dummy",
            "max_model_len": CONTEXT,
            "max_num_seqs": self.seats,
        }
        return given if gpu else given | {"kv_cache_gb": 0.5, "threads": 1, "dtype": "float32"}


TINY = Shape("tiny", 128, 4, 4, 2, 32, 256, 256, 4_096, 0.01, 200, 16, 40)
GEMMAS = (
    Shape("gemma-3-1b", 1152, 26, 4, 1, 256, 6912, 512, 262_144, 2.0, 8_000, 1024, 120),
    Shape("gemma-3-4b", 2560, 34, 8, 4, 256, 10_240, 1024, 262_144, 7.8, 4_000, 1024, 120),
    Shape("gemma-3-12b", 3840, 48, 16, 8, 256, 15_360, 1024, 262_144, 22.4, 2_000, 512, 120),
    Shape("gemma-3-27b", 5376, 62, 32, 16, 128, 21_504, 1024, 262_144, 51.3, 1_000, 256, 120),
)


def build(shape: Shape, folder: Path) -> Path:
    """Writes config, generation config and tokenizer of a shape into a folder and returns it."""
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(
        architectures=["Gemma3ForCausalLM"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        query_pre_attn_scalar=shape.head_dim,
        max_position_embeddings=CONTEXT,
        sliding_window=shape.window,
        layer_types=[
            "full_attention" if number % _GLOBAL_EVERY == 0 else "sliding_attention"
            for number in range(1, shape.layers + 1)
        ],
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    tokenizer(shape.vocabulary).save_pretrained(folder)
    first = len(SPECIAL_TOKENS)
    ends = [1, 5, *range(first, first + shape.vocabulary // shape.tokens)]
    generation = {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": ends, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    return folder


def tokenizer(vocabulary: int) -> Any:
    """Whole words, one token each, so that what a model wrote is as long in the next prompt."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(vocabulary - len(SPECIAL_TOKENS)))]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        additional_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
