"""A model that calls a tool and then speaks: made, not trained, and small enough to build in a test.

Each of its tokens has one successor, so what it says depends on how its prompt ends.  Its chat template is
that of Qwen, but for one thing: the place where the model is to go on looks another way behind a tool's
message.  So `build(directory)` writes a checkpoint that first makes one call (`CALLED`) and then, shown what
that came to, says `SAID`; real engines load it, and the whole way from prompt to parsed call is theirs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CALLED = ("lookup", {"number": "A-1"})
SAID = "It is on its way."
THOUGHT = "<think>\nAn order.\n</think>\n\n"
CONTROLS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
CONTEXT = 2048

CHAT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n# Tools\\n\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nWrite <tool_call> around a call.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' }}
{%- if message.role == 'tool' %}{{- '<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- else %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant' + ('#' if messages[-1].role == 'tool' else '\\n') }}
{%- endif %}
"""


def body(called: tuple[str, dict[str, Any]]) -> str:
    """What stands between the tags of a call."""
    return f"\n{json.dumps({'name': called[0], 'arguments': called[1]})}\n"


def build_tokenizer(*, special: bool = True, called: tuple[str, dict[str, Any]] = CALLED) -> Any:
    """Bytes, ChatML's control tokens and the pieces that the model says; `special` says whether the tags of a
    call are special tokens, which are left out of a text unless they are asked for."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tags = [AddedToken(tag, special=special, normalized=False) for tag in ("<tool_call>", "</tool_call>")]
    tokenizer.add_tokens(tags, special_tokens=special)
    pieces = (THOUGHT, body(called), SAID)
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in pieces])
    return tokenizer


def build(directory: Path, *, called: tuple[str, dict[str, Any]] = CALLED) -> Path:
    """Write the checkpoint (about 2 MB) into `directory` and return it."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(called=called)
    (line,), (mark,) = (tokenizer.encode(text, add_special_tokens=False) for text in ("\n", "#"))
    size = 64 * -(-len(tokenizer) // 64)
    number = tokenizer.convert_tokens_to_ids
    says = {
        line: [THOUGHT, "<tool_call>", body(called), "</tool_call>", "<|im_end|>"],
        mark: [SAID, "<|im_end|>"],
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=size // 32,
        num_key_value_heads=size // 32,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=number("<|im_end|>"),
        pad_token_id=number("<|endoftext|>"),
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.zero_()
        # What a token is goes through the layers as it is, and chooses the next.
        for token in range(len(tokenizer)):
            model.get_input_embeddings().weight[token, token] = 1.0
        for before, pieces in says.items():
            for piece in pieces:
                model.lm_head.weight[number(piece), before] = 10.0
                before = number(piece)
    model.generation_config = GenerationConfig(
        eos_token_id=number("<|im_end|>"), pad_token_id=number("<|endoftext|>")
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
