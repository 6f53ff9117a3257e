"""Which tokens of a conversation are the answer that is scored."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import CallFailed
from synth.runtime.engines.base import Message
from synth.runtime.engines.local.chat_template import ChatTemplate
from tests.kit.models.calls import messages
from tests.kit.models.tiny_gemma import SPECIAL_TOKENS, build_tokenizer

pytest.importorskip("transformers")

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""


def tokenizer_with(template: str) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


@cache
def gemma() -> Any:
    return build_tokenizer()


@cache
def chatml() -> Any:
    return tokenizer_with(CHATML)


def apply(tokenizer: Any, said: tuple[Message, ...], *, tokenize: bool) -> Any:
    """What the tokenizer's own template makes of a whole conversation."""
    roles = {"system": "system", "user": "user", "model": "assistant"}
    turns = [{"role": roles[message.role], "content": message.content} for message in said]
    return tokenizer.apply_chat_template(turns, tokenize=tokenize, return_dict=False)


def decode(tokenizer: Any, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def answer_of(template: str, *turns: str) -> tuple[str, str]:
    """The prompt and the answer of a conversation, each read back from its tokens."""
    tokenizer = tokenizer_with(template)
    chat = ChatTemplate(tokenizer)
    ids, scored = chat.render_answer(messages(*turns))
    assert ids[:scored] == chat.render(messages(*turns[:-1]))
    return decode(tokenizer, ids[:scored]), decode(tokenizer, ids[scored:])


SPELLINGS = [*SPECIAL_TOKENS, "<|im_start|>", "<|im_end|>"]
ordinary = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: not any(spelling in text for spelling in SPELLINGS)
)
hostile = st.lists(
    ordinary | st.sampled_from([*SPELLINGS, "{{ x }}", "\u202e", "\0", "\ue000", " \n"]), max_size=8
).map("".join)
tokenizers = st.sampled_from([gemma, chatml])


def conversations(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """User and model turns by turns, the last one the model's."""
    pairs = st.lists(st.tuples(text, text), min_size=1, max_size=3)
    return pairs.map(lambda found: [turn for pair in found for turn in pair])


@settings(deadline=None)
@given(tokenizers, conversations(ordinary))
def test_an_answer_has_the_ids_of_the_whole_conversation(which: Any, turns: list[str]) -> None:
    said, chat = messages(*turns), ChatTemplate(which())
    ids, scored = chat.render_answer(said)
    prompt = chat.render(said[:-1])
    assert ids[:scored] == prompt
    whole = tuple(apply(which(), said, tokenize=True))
    if whole[:scored] == prompt:
        assert whole[: len(ids)] == ids
        assert decode(which(), whole[len(ids) :]) == "\n"


@settings(deadline=None)
@given(tokenizers, conversations(hostile))
def test_an_answer_reads_back_as_it_was_written(which: Any, turns: list[str]) -> None:
    said, chat = messages(*turns), ChatTemplate(which())
    ids, scored = chat.render_answer(said)
    assert ids[:scored] == chat.render(said[:-1])
    assert decode(which(), ids) + "\n" == apply(which(), said, tokenize=False)


@settings(deadline=None)
@given(tokenizers, conversations(hostile))
def test_an_answer_has_one_control_token_and_ends_with_it(which: Any, turns: list[str]) -> None:
    special = set(which().all_special_ids)
    ids, scored = ChatTemplate(which()).render_answer(messages(*turns))
    end = which().convert_tokens_to_ids("<end_of_turn>" if which is gemma else "<|im_end|>")
    assert [number for number in ids[scored:] if number in special] == [end]
    assert ids[-1] == end


@pytest.mark.parametrize("text", ["half \ud83d of a pair", "<bos>\udc00", "\0", "\u202eback"])
def test_odd_characters_are_scored_as_they_are_shown(text: str) -> None:
    chat = ChatTemplate(gemma())
    ids, scored = chat.render_answer(messages("Hello.", text))
    shown = chat.render(messages("Hello.", text, "And?"))
    assert shown[: len(ids)] == ids
    assert scored < len(ids) - 1


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        # A prompt that has no marks of its own, and an end of turn with nothing after it.
        (
            "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
            "{% else %} {{ m.content }}<eos>{% endif %}{% endfor %}",
            "[INST] who [/INST]",
            " a persona<eos>",
        ),
        # Neither marks nor ends: the answer is all there is.
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "who", "a persona"),
        # The prompt holds what a finished conversation does not.
        (
            CHATML.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'"),
            "<|im_start|>user\nwho<|im_end|>\n<|im_start|>assistant\n<think>\n",
            "a persona<|im_end|>",
        ),
        # The finished conversation holds what the prompt does not.
        (
            CHATML.replace("message.content", "('(' + message.content + ')')"),
            "<|im_start|>user\n(who)<|im_end|>\n<|im_start|>assistant\n",
            "(a persona)<|im_end|>",
        ),
        # More than an end of turn after the answer: the model's part ends with the first.
        (
            CHATML + "{% if not add_generation_prompt %}<eos>{% endif %}",
            "<|im_start|>user\nwho<|im_end|>\n<|im_start|>assistant\n",
            "a persona<|im_end|>",
        ),
        # A template that prints another end where it does not know the answer.
        (
            "{% for m in messages %}{{ m.content }}{{ '<eos>' if m.content is in ['who', 'a persona'] "
            "else '<pad>' }}{% endfor %}",
            "who<eos>",
            "a persona<eos>",
        ),
        # One that does not print the answer where the prompt says it goes, and prints it as it likes.
        (
            "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
            "{% if add_generation_prompt %}: {% endif %}",
            "WHO: ",
            "A PERSONA",
        ),
    ],
)
def test_the_prompt_wins_where_a_template_is_not_of_one_mind(template: str, prompt: str, answer: str) -> None:
    assert answer_of(template, "who", "a persona") == (prompt, answer)


def test_a_token_across_the_seam_is_taken_apart() -> None:
    """A model is shown the prompt's tokens, whatever would follow."""
    tokenizer = tokenizer_with("{% for m in messages %}{{ m.content }}{% endfor %}")
    together = tokenizer("persona", add_special_tokens=False).input_ids
    apart = [tokenizer(text, add_special_tokens=False).input_ids for text in ("perso", "na")]
    assert together[: len(apart[0])] != apart[0]
    ids, scored = ChatTemplate(tokenizer).render_answer(messages("perso", "na"))
    assert [list(ids[:scored]), list(ids[scored:])] == apart


@pytest.mark.parametrize("said", [(), messages("Hello."), (Message("system", "You are Ada."),)])
def test_a_conversation_without_an_answer_has_nothing_to_score(said: tuple[Message, ...]) -> None:
    with pytest.raises(CallFailed, match="does not end with an answer") as caught:
        ChatTemplate(gemma()).render_answer(said)
    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)


def test_what_the_template_refuses_is_refused_for_good() -> None:
    with pytest.raises(CallFailed, match="the chat template refuses this conversation"):
        ChatTemplate(gemma()).render_answer((Message("model", "I speak first."),))
