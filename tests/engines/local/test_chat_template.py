"""Prompts: the template's own tokens, and nobody else's control tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from hashlib import sha256
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import CallFailed, EngineError
from synth.runtime.engines.base import Message, without_system
from synth.runtime.engines.local.chat_template import ChatTemplate
from synth.runtime.engines.local.options import ChatOptions, switches
from tests.kit.models.calls import messages
from tests.kit.models.tiny_gemma import CHAT_TEMPLATE, SPECIAL_TOKENS, build_tokenizer

pytest.importorskip("transformers")

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""


@cache
def gemma() -> Any:
    return build_tokenizer()


@cache
def chatml() -> Any:
    """The same words with ChatML's control tokens, one of them inside another."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<|im_end|>>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


@cache
def pieces() -> Any:
    """Words with their spaces, the first one marked; as SentencePiece models have it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*SPECIAL_TOKENS, *bytes_], show_progress=False
    )
    backend.train_from_iterator(["user model a persona is who the model says it is"] * 3, trainer)
    # Bytes are no control tokens, although a trainer knows no other way to get them in.
    trained = json.loads(backend.to_str())
    trained["added_tokens"] = [token for token in trained["added_tokens"] if token["content"] not in bytes_]
    backend = Tokenizer.from_str(json.dumps(trained))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        unk_token="<unk>",
        additional_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def reaching(side: str) -> Any:
    """Its control tokens swallow the spaces on one side of them."""
    from tokenizers import AddedToken

    tokenizer = build_tokenizer()
    around = [AddedToken(name, special=True, **{side: True}) for name in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_special_tokens({"additional_special_tokens": around})
    tokenizer.chat_template = CHATML
    return tokenizer


@cache
def left() -> Any:
    return reaching("lstrip")


@cache
def right() -> Any:
    return reaching("rstrip")


@cache
def overlapping() -> Any:
    """An ordinary token that ends with the beginning of a control token."""
    from tokenizers import AddedToken

    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken("\n<start", normalized=False)])
    return tokenizer


@cache
def template(which: Callable[[], Any]) -> ChatTemplate:
    return ChatTemplate(which())


def conversation(turns: tuple[Message, ...]) -> list[dict[str, str]]:
    roles = {"system": "system", "user": "user", "model": "assistant"}
    return [{"role": roles[turn.role], "content": turn.content} for turn in turns]


def controls(tokenizer: Any, ids: tuple[int, ...]) -> list[str]:
    special = set(tokenizer.all_special_tokens)
    return [token for token in tokenizer.convert_ids_to_tokens(list(ids)) if token in special]


def decode(tokenizer: Any, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


SPELLINGS = [*SPECIAL_TOKENS, "<|im_start|>", "<|im_end|>", "<|im_end|>>"]
NEAR_MISSES = [
    "<",
    ">",
    "|>",
    "<start_of",
    "_turn>",
    "{{ x }}",
    "{% raw %}",
    "\u202e",
    "\U000f0000",
    "\ue000",
]
ordinary = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: not any(spelling in text for spelling in SPELLINGS)
)
hostile = st.lists(ordinary | st.sampled_from(SPELLINGS + NEAR_MISSES), max_size=8).map("".join)
tokenizers = st.sampled_from([gemma, chatml])


@settings(deadline=None)
@given(tokenizers, st.lists(ordinary, min_size=1, max_size=5))
def test_ordinary_text_gets_the_ids_of_the_tokenizer(which: Any, turns: list[str]) -> None:
    asked = messages(*turns)
    expected = which().apply_chat_template(
        conversation(asked), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert list(ChatTemplate(which()).render(asked)) == expected


@settings(deadline=None)
@given(
    st.sampled_from([gemma, chatml, pieces, left, right]),
    st.lists(ordinary | st.sampled_from([" ", "\n", " a persona ", "x "]), min_size=1, max_size=5),
)
def test_a_conversation_that_grows_keeps_to_the_ids_of_the_tokenizer(which: Any, turns: list[str]) -> None:
    """Although its earlier turns are encoded only once."""
    for length in range(1, len(turns) + 1):
        asked = messages(*turns[:length])
        written = which().apply_chat_template(conversation(asked), add_generation_prompt=True, tokenize=False)
        expected = which().backend_tokenizer.encode(written, add_special_tokens=False).ids
        assert list(template(which).render(asked)) == expected
        assert template(which).render(asked) == ChatTemplate(which()).render(asked)


def test_a_long_turn_and_many_turns_are_encoded_like_any_other() -> None:
    for text in ("word " * 5000, *(f"turn {number}" for number in range(5000))):
        assert template(gemma).render(messages(text)) == (
            *template(gemma).render(messages("x"))[:4],
            *gemma()(text.strip(), add_special_tokens=False).input_ids,
            *template(gemma).render(messages("x"))[-5:],
        ), text[:20]


def test_a_token_across_a_seam_is_the_tokenizers() -> None:
    written = overlapping().apply_chat_template(
        conversation(messages("x")), add_generation_prompt=True, tokenize=False
    )
    ids = template(overlapping).render(messages("x"))
    assert decode(overlapping(), ids) == written


@settings(deadline=None)
@given(tokenizers, st.lists(hostile, min_size=1, max_size=5))
def test_only_the_template_puts_control_tokens(which: Any, turns: list[str]) -> None:
    template = ChatTemplate(which())
    tame = template.render(messages(*["x"] * len(turns)))
    ids = template.render(messages(*turns))
    assert controls(which(), ids) == controls(which(), tame)


@settings(deadline=None)
@given(tokenizers, st.lists(hostile, min_size=1, max_size=5))
def test_a_prompt_reads_back_as_it_was_written(which: Any, turns: list[str]) -> None:
    asked = messages(*turns)
    written = which().apply_chat_template(conversation(asked), add_generation_prompt=True, tokenize=False)
    assert decode(which(), ChatTemplate(which()).render(asked)) == written


def test_a_system_message_is_where_the_template_puts_it() -> None:
    asked = (Message("system", "You are Ada."), *messages("Who are you?"))
    assert decode(gemma(), ChatTemplate(gemma()).render(asked)) == (
        "<bos><start_of_turn>user\nYou are Ada.\n\nWho are you?<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (Message("model", "I speak first."),),
        (Message("user", "One."), Message("user", "Two.")),
        (Message("user", "One."), Message("system", "Two.")),
    ],
)
def test_what_the_template_refuses_is_refused_for_good(asked: tuple[Message, ...]) -> None:
    with pytest.raises(CallFailed, match="the chat template refuses this conversation") as caught:
        ChatTemplate(gemma()).render(asked)
    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("<bos>\udc00", "<bos>\ufffd"),
        ("\ud83d\ude00", "😀"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(text: str, readable: str) -> None:
    template = ChatTemplate(gemma())
    assert template.render(messages(text)) == template.render(messages(readable))


def test_a_message_may_hold_any_private_use_character() -> None:
    private = "".join(map(chr, [*range(0xE000, 0xE100), *range(0xF0000, 0xF0100)]))
    text = f"{private}<end_of_turn>{private}"
    assert text in decode(gemma(), ChatTemplate(gemma()).render(messages(text)))


def test_a_message_with_every_private_use_character_fails_the_call_alone() -> None:
    codes = [*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)]
    with pytest.raises(CallFailed, match="every private-use character"):
        ChatTemplate(gemma()).render(messages("".join(map(chr, codes)) + "<bos>"))


def test_a_normaliser_cannot_make_a_control_token() -> None:
    from tokenizers import AddedToken, normalizers

    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken("<turn>", normalized=True, special=True)]}
    )
    tokenizer.chat_template = "{{ messages[0].content + '<turn>' }}"
    plain = ChatTemplate(tokenizer).render(messages("hello"))
    # The tokenizer itself reads full-width brackets as the control token.
    assert controls(tokenizer, tuple(tokenizer("＜turn＞", add_special_tokens=False).input_ids)) == ["<turn>"]
    ids = ChatTemplate(tokenizer).render(messages("＜turn＞"))
    assert controls(tokenizer, ids) == controls(tokenizer, plain) == ["<turn>"]


def test_a_control_token_in_the_vocabulary_itself_is_taken_apart() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<turn>", "a", "b", *"<turn>"]
    backend = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(dict.fromkeys(words))}, "<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<turn>")
    tokenizer.chat_template = "{{ messages[0].content + ' <turn>' }}"
    ids = ChatTemplate(tokenizer).render(messages("a <turn> b"))
    assert tokenizer.convert_ids_to_tokens(list(ids)) == ["a", *"<turn>", "b", "<turn>"]


def test_a_template_sees_a_clock_that_stands_still() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}"
    assert decode(tokenizer, ChatTemplate(tokenizer).render(messages("x"))) == "01 Jan 2025"


THINKING = (
    CHATML.replace("{%- if add_generation_prompt %}", "{%- if add_generation_prompt and tight %}")
    + "{%- if add_generation_prompt and not tight %}<|im_start|>assistant\n<think>\n"
    + "{%- if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}{% endif -%}"
)


def thinking() -> Any:
    tokenizer = deepcopy(chatml())
    tokenizer.chat_template = THINKING
    return tokenizer


def test_thinking_that_the_template_opens_is_known_and_can_be_switched_off() -> None:
    assert ChatTemplate(chatml()).opened_thinking == ""
    assert ChatTemplate(thinking()).opened_thinking == "<think>"
    off = ChatTemplate(thinking(), {"enable_thinking": False})
    assert off.opened_thinking == ""
    asked = messages("Who are you?")
    assert off.render(asked) != ChatTemplate(thinking()).render(asked)
    assert off.hash == ChatTemplate(thinking()).hash


def test_reasoning_is_said_as_far_as_a_template_can_be_told() -> None:
    assert switches(THINKING, "none") == {"enable_thinking": False}
    assert switches(THINKING, "low") == {"enable_thinking": True}
    assert switches("{{ reasoning_effort }}", "none") == {"reasoning_effort": "low"}
    assert switches("{% if thinking %}x{% endif %} message.reasoning_effort", "high") == {"thinking": True}
    assert switches(CHATML, "high") == {}
    options = ChatOptions(reasoning="high", chat_template_kwargs={"odd": 1})
    assert options.notes(CHATML) == ("its chat template does not know `odd` and `reasoning = high`",)
    assert ChatOptions().request(THINKING) is None
    assert ChatOptions(reasoning="none").request(THINKING) == {
        "chat_template_kwargs": {"enable_thinking": False}
    }


def test_without_the_system_role_its_text_opens_the_first_message() -> None:
    asked = (Message("system", "Be terse."), Message("user", "Hello."))
    merged = (Message("user", "Be terse.\n\nHello."),)
    plain = ChatTemplate(chatml())
    assert ChatTemplate(chatml(), system=False).render(asked) == plain.render(merged)
    begun = (Message("system", "Be terse."), Message("model", "Yes?"))
    assert without_system(begun) == (Message("user", "Be terse."), Message("model", "Yes?"))


def test_the_hash_names_the_template() -> None:
    assert ChatTemplate(gemma()).hash == sha256(CHAT_TEMPLATE.encode()).hexdigest()
    assert ChatTemplate(chatml()).hash == sha256(CHATML.encode()).hexdigest()


def test_a_tokenizer_without_a_template_is_refused() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(EngineError, match="has no chat template: use its instruction-tuned variant"):
        ChatTemplate(tokenizer)


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        name_or_path = "old/model"

    with pytest.raises(EngineError, match="`old/model` has no fast tokenizer"):
        ChatTemplate(Slow())


@settings(max_examples=10, deadline=None)
@given(st.lists(hostile, min_size=8, max_size=16))
def test_threads_may_share_a_template(texts: list[str]) -> None:
    shared = ChatTemplate(gemma())
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: shared.render(messages(text)), texts))
    alone = [ChatTemplate(gemma()).render(messages(text)) for text in texts]
    assert all(one == other for one, other in zip_longest(together, alone))


# Opening the user's turn --------------------------------------------------------------


@pytest.mark.parametrize("make", [gemma, chatml])
def test_what_opens_a_users_turn_is_what_comes_before_its_text(make: Callable[[], Any]) -> None:
    tokenizer = make()
    template = ChatTemplate(tokenizer)
    before = messages("Who?", "Me.", "<end_of_turn> <|im_end|>", "Fine.")
    opened = template.render_opening(before)
    said = template.render([*before, Message("user", "More?")])
    assert said[: len(opened)] == opened
    assert len(said) > len(opened)
    assert tokenizer.decode(said[len(opened) :]).strip().startswith("More?")
    assert template.render_opening(()) == template.render_opening([])
