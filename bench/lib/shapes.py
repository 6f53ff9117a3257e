"""Models to generate with: the pocket model, and Gemma-3's shapes without weights.

Of a shape there is a config and a tokenizer, made on the spot.  vLLM fills the weights with noise
(`load_format="dummy"`), so every token is about as likely as any other.  The share of words that end
an answer then sets how long answers are: lengths fall off as with a real model's, and differ
from call to call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lib.harness import ROOT
from tests.kit.models.tiny_gemma import CHAT_TEMPLATE, SPECIAL_TOKENS

CONTEXT = 2048
_GLOBAL_EVERY = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's size, and a fair load for it.

    `gib` is what its weights take in bfloat16, `tokens` the mean of an answer and `longest` the most,
    `samples` how many chains of four calls there are and `seats` how many calls run together;
    `rounds` is how often run and bound are measured, `kv_cache_gb` what a CPU has for the cache.
    """

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
    rounds: int = 1
    kv_cache_gb: float = 0.5
    longest: int = 300

    def place(self, folder: Path) -> Path:
        """Where the model lies, made below a folder."""
        return build(self, folder / "model")

    def options(self, gpu: bool) -> dict[str, Any]:
        """What `synth.toml` says of the model."""
        settings: dict[str, Any] = {
            "load_format": "dummy",
            "max_model_len": CONTEXT,
            "max_num_seqs": self.seats,
        }
        on_cpu = {"kv_cache_gb": self.kv_cache_gb, "threads": 1, "dtype": "float32"}
        return settings if gpu else settings | on_cpu


@dataclass(frozen=True, slots=True)
class Pocket:
    """SmolLM2-135M from its package, which answers in English; a load as that of a `Shape`."""

    name: str = "pocket"
    samples: int = 24
    seats: int = 4
    rounds: int = 1
    longest: int = 64

    def place(self, folder: Path) -> Path:
        """Where the model lies, made in the user's cache when it is missing."""
        from synth.runtime.engines.local.pocket import pocket_checkpoint

        return pocket_checkpoint()

    def options(self, gpu: bool) -> dict[str, Any]:
        """What `synth.toml` says of the model."""
        on_cpu = {"kv_cache_gb": 1, "threads": 1, "dtype": "float32"}
        return {"max_model_len": CONTEXT, "max_num_seqs": self.seats} | ({} if gpu else on_cpu)


# The cache holds a third of what the run writes into it, as on a GPU, so the order counts.
TINY = Shape("tiny", 128, 4, 4, 2, 32, 256, 256, 4_096, 0.01, 200, 16, 40, rounds=3, kv_cache_gb=0.08)
# A step takes some fifty milliseconds on one core: two tenths of gemma-3-1b.
SMALL = Shape("small", 640, 12, 4, 1, 256, 2_048, 512, 32_768, 0.2, 60, 16, 40)
POCKET = Pocket()
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
    tokenizer(vocabulary(shape)).save_pretrained(folder)
    generation = {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": [1, 5], "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    return folder


def vocabulary(shape: Shape) -> list[str]:
    """Control tokens, the words of the recipe, words that end an answer, and others up to the size.

    An answer ends at the recipe's stop, `|`.  Two thousand end-of-sequence tokens would do too, if
    vLLM did not look through the list of them after every token.
    """
    recipe = (ROOT / "bench" / "recipes" / "chain.recipe").read_text("utf-8")
    known = [*SPECIAL_TOKENS, "user", "model", *re.findall(r"\w+|[^\w\s|]", recipe)]
    ends = [f"|{number}" for number in range(shape.vocabulary // shape.tokens)]
    words = [*dict.fromkeys(known), *ends]
    return [*words, *(f"w{number}" for number in range(shape.vocabulary - len(words)))]


def tokenizer(words: Sequence[str]) -> Any:
    """Whole words, one token each, so that what a model wrote is as long in the next prompt."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

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
