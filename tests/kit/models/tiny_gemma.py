"""A Gemma-3 checkpoint small enough to build in a test: random weights, real mechanics.

`build(directory)` writes weights, tokenizer and chat template.  The same directory content
comes out every time, so answers of a seeded engine can be compared between sessions.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
CONTEXT = 1024

# Gemma has no system role: a leading system message is put before the first user turn.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- set ns = namespace(preamble='', turns=messages) -%}
{%- if messages[0].role == 'system' -%}
  {%- set ns.preamble = messages[0].content + '\\n\\n' -%}
  {%- set ns.turns = messages[1:] -%}
{%- endif -%}
{%- for turn in ns.turns -%}
  {%- if turn.role != ('user' if loop.index0 is even else 'assistant') -%}
    {{- raise_exception('user and assistant turns must alternate, starting with user') -}}
  {%- endif -%}
  {{- '<start_of_turn>' + ('model' if turn.role == 'assistant' else 'user') + '\\n' -}}
  {%- if loop.first -%}{{- ns.preamble -}}{%- endif -%}
  {{- turn.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""


def _corpus() -> list[str]:
    """Enough text for a few hundred merges; no randomness, no file."""
    words = "a persona is who the model says it is when a user asks what it is for".split()
    pairs = [f"{left} {right}" for left in words for right in words]
    return [*pairs, string.printable, "user\nmodel\n", '{"name": "value", "list": [1, 2, 3]}']


def build_tokenizer() -> Any:
    """A byte-level BPE tokenizer with Gemma's control tokens and a Gemma-like template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_corpus(), trainer)
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


def build(directory: Path) -> Path:
    """Write the checkpoint (about 2 MB) into `directory` and return it."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GenerationConfig

    tokenizer = build_tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        query_pre_attn_scalar=32,
        max_position_embeddings=CONTEXT,
        sliding_window=256,
        layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
        # The default 0.02 makes greedy decoding repeat one token for ever.
        initializer_range=0.1,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=2, pad_token_id=0, eos_token_id=[1, SPECIAL_TOKENS.index("<end_of_turn>")]
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def build_adapter(directory: Path) -> Path:
    """Write a random LoRA adapter for the checkpoint into `directory` and return it."""
    import torch
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(0)
    weights = {}
    for layer in range(4):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(8, 128, generator=draw)
        weights[f"{name}.lora_B.weight"] = torch.randn(128, 8, generator=draw)
    directory.mkdir()
    save_file(weights, directory / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory
