"""Calls of tools in the text of local models: what is one, what is none, and what only looks like one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.canonical import canonical_json
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Completion, FinishReason, ToolCall
from synth.runtime.engines.hosted.openai_tools import calls_in
from synth.runtime.engines.local.tools.forms import HERMES, LLAMA, Form
from synth.runtime.engines.local.tools.template import FormParser, ToolReader
from synth.runtime.engines.tool_calls import arguments_of, in_text
from synth.runtime.engines.wire.fields import Reading

NAMES = ("lookup", "refund")
CALL = Call(
    key="",
    messages=(),
    token_ids=None,
    schema=None,
    sampling=Sampling(),
    seed=1,
    tools=tuple({"type": "function", "function": {"name": name, "parameters": {}}} for name in NAMES),
)
ONE = '<tool_call>\n{"name": "lookup", "arguments": {"number": "A-1"}}\n</tool_call>'
LOOKUP = ToolCall("lookup", {"number": "A-1"})


def read(form: Form, text: str, ended: FinishReason = "stop", *, single: bool = False) -> Completion:
    reader = ToolReader(FormParser(form, {"<|python_tag|>": 1, "<|x|>": 2}), single=single, plain=without)
    return reader.read(Completion(text, ended, 5, 3, 1), CALL)


def without(text: str) -> str:
    return text.replace("<|python_tag|>", "").replace("<|x|>", "")


@pytest.mark.parametrize(
    ("text", "said", "calls", "thought"),
    [
        (ONE, "", (LOOKUP,), None),
        (f"\n\n{ONE}\n", "", (LOOKUP,), None),
        (f"Let me look.\n{ONE}\n{ONE}", "Let me look.", (LOOKUP, LOOKUP), None),
        (f"Let me look.{ONE}{ONE}", "Let me look.", (LOOKUP, LOOKUP), None),
        (f"<think>\nA <tool_call> is due.\n</think>\n\n{ONE}", "", (LOOKUP,), "A <tool_call> is due."),
        (f"<think></think>So.\n{ONE}", "So.", (LOOKUP,), None),
        (
            '<tool_call>{"arguments": {"b": 1, "a": [{"d": null, "c": 1.5}]}, "name": "nobody"}</tool_call>',
            "",
            (ToolCall("nobody", {"a": [{"c": 1.5, "d": None}], "b": 1}),),
            None,
        ),
        (
            '<tool_call>{"name": "lookup", "arguments": {"t": "</tool_call> <think>x'
            '</think>.\\n<tool_call>"}}</tool_call>',
            "",
            (ToolCall("lookup", {"t": "</tool_call> <think>x</think>.\n<tool_call>"}),),
            None,
        ),
        ('<tool_call>{"name": "lookup", "arguments": {}}</tool_call>', "", (ToolCall("lookup", {}),), None),
    ],
)
def test_calls_in_tags(text: str, said: str, calls: tuple[ToolCall, ...], thought: str | None) -> None:
    answer = read(HERMES, text)
    assert (answer.text, answer.calls, answer.thought, answer.malformed) == (said, calls, thought, None)
    assert [list(each.arguments) for each in answer.calls] == [
        sorted(each.arguments) for each in answer.calls
    ]


@pytest.mark.parametrize(
    "text",
    [
        "It is on its way.",
        'Send {"name": "lookup", "arguments": {}} to it.',
        "One writes `<tool_call>{...}</tool_call>` there.",
        "The tags `<tool_call>` and `</tool_call>` are put around a call.",
        '{"name": "Ada", "arguments": {}}',
        "lookup(number) and refund(number) are there (both of them)",
        "It is <b>there</b>, see [TOOLS] and `functools[{`.",
        '"<tool_call>{"name": 1}</tool_call>" is what I said.',
        "<think>I could write <tool_call>{</think>No.",
        "<think>and it never ends <tool_call>{",
        "",
    ],
)
def test_what_is_said_is_no_call(text: str) -> None:
    answer = read(HERMES, text)
    assert (answer.text, answer.calls, answer.malformed) == (text, (), None)
    assert read(HERMES, text, "length").malformed is None


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("<tool_call>\nlookup()\n</tool_call>", "the words of call 1 are not JSON"),
        (ONE.replace("}}", "}"), "the words of call 1, of `lookup`, are not JSON"),
        (ONE.replace('"A-1"', "NaN"), "the words of call 1, of `lookup`, are not JSON"),
        (ONE.replace('"A-1"', "1e999"), "`lookup` is called with arguments that hold a number that is none"),
        (ONE.replace('"A-1"', '"A", "number": "B"'), "the words of call 1, of `lookup`, name `number` twice"),
        (ONE.replace('"A-1"', "[" * 5000), "are nested more than 64 deep"),
        (ONE.replace('"arguments"', '"parameters"'), "call 1, of `lookup`, has no `arguments`"),
        (
            ONE.replace('"name"', '"id": 1, "name"'),
            "call 1, of `lookup`, has `id` beside its name and arguments",
        ),
        (ONE.replace('"lookup"', "7"), "call 1 has a number in place of a name"),
        (ONE.replace('{"number": "A-1"}', '"{}"'), "has a text in place of an object of arguments"),
        (ONE.replace('{"number": "A-1"}', "null"), "has null in place of an object of arguments"),
        ("<tool_call>[]</tool_call>", "call 1 is a list instead of an object"),
        (ONE.replace("</tool_call>", ""), "the call of `lookup` is not closed by `</tool_call>`"),
        (f"{ONE}\n<tool_response>\nsent\n</tool_response>", "something follows the call of `lookup`"),
        (f"{ONE}\n<tool_call>", "the words of call 2 are not JSON"),
        (ONE.replace("lookup", "l" * 300), "call 1 has a name of 300 characters"),
    ],
)
def test_a_call_that_is_begun_and_is_none_is_malformed(text: str, clause: str) -> None:
    said = f"<think>So.</think>Let me look.\n{text}"
    answer = read(HERMES, said)
    assert answer.malformed is not None
    assert clause in answer.malformed
    assert (answer.text, answer.calls) == (said, ())


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        (ONE[:40], "the answer was cut at the limit of tokens in the middle of a call"),
        (ONE, "the answer was cut at the limit of tokens after `lookup` was called"),
    ],
)
def test_calls_that_were_cut_say_so(text: str, clause: str) -> None:
    answer = read(HERMES, text, "length")
    assert (answer.text, answer.calls, answer.malformed, answer.finish_reason) == (text, (), clause, "length")


BARE = '{"name": "lookup", "parameters": {"number": "A-1"}}'


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        (BARE, "", (LOOKUP,)),
        (f" \n{BARE};\n", "", (LOOKUP,)),
        (f"<|python_tag|>{BARE}", "", (LOOKUP,)),
        (f"One <|x|>moment. <|python_tag|>{BARE}; {BARE}", "One moment.", (LOOKUP, LOOKUP)),
        (BARE.replace('"name"', '"type": "function", "name"'), "", (LOOKUP,)),
        (BARE.replace("lookup", "nobody"), "", (ToolCall("nobody", {"number": "A-1"}),)),
        ('{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', ()),
        ('{"state": "sent"}', '{"state": "sent"}', ()),
        (f"Write {BARE}.", f"Write {BARE}.", ()),
        ("{{ name }}", "{{ name }}", ()),
        ("Two <|x|>words.", "Two words.", ()),
    ],
)
def test_calls_in_json(text: str, said: str, calls: tuple[ToolCall, ...]) -> None:
    answer = read(LLAMA, text)
    assert (answer.text, answer.calls, answer.malformed) == (said, calls, None)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ('{"name": "lookup"}', "call 1, of `lookup`, has no `parameters`"),
        ('{"name": "lookup", "param', "the words of call 1, of `lookup`, are not JSON"),
        ('{"name": "nobody", "parameters": {', "the words of call 1, of `nobody`, are not JSON"),
        (f"{BARE} or so", "something follows the call of `lookup`"),
        ('<|python_tag|>lookup.call(number="A-1")', "the words of call 1 are not JSON"),
        ("<|python_tag|>", "the words of call 1 are not JSON"),
        ("So: <|python_tag|>[1]", "call 1 is a list instead of an object"),
    ],
)
def test_json_that_begins_a_call_and_is_none_is_malformed(text: str, clause: str) -> None:
    answer = read(LLAMA, text)
    assert answer.malformed is not None
    assert clause in answer.malformed
    assert (answer.text, answer.calls) == (text, ())


MARK, CALLED = "the answer has `", "the answer writes a call of `lookup` as what it says"


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("The tag <tool_call> opens a call.", MARK),
        ('{"name": "lookup", "arguments": {}}\n</tool_call>', MARK),
        ('Sure. <tool_call>[{"name": "lookup", "arguments": {}}]</tool_call>', MARK),
        ('<tools>{"name": "lookup", "arguments": {}}</tools>', MARK),
        ("It is sent. <tool_response>\nsent\n</tool_response>", MARK),
        ("<TOOL_CALL>lookup</TOOL_CALL>", MARK),
        ('<function=lookup>{"number": "1"}</function>', MARK),
        ('[TOOL_CALLS] [{"name": "lookup"', MARK),
        ("<｜tool▁calls▁begin｜>", MARK),
        ("<|tool_call_start|>[lookup()]", MARK),
        ("<minimax:tool_call>", MARK),
        ('"<tool_call>{"name": "lookup", "arguments": {}}</tool_call>"', CALLED),
        ('Let me look: {"name": "lookup", "parameters": {}}', CALLED),
        ('```json\n[{"name": "lookup", "arguments": {}}]\n```', CALLED),
        ('Now:\n{"function": {"name": "lookup", "arguments": "{}"}}', CALLED),
        ('{"tool_calls": [{"name": "lookup", "arguments": {}}]}', CALLED),
        ('`{"arguments": {}, "name": "lookup"}`', CALLED),
        ('So.\n{"name": "lookup", "arguments": {"number": ', CALLED),
        ('```tool_code\nlookup(number="1")\n```', CALLED),
    ],
)
def test_a_call_that_is_said_is_malformed_where_tools_are_given(text: str, clause: str) -> None:
    answer = read(HERMES, text)
    assert answer.malformed is not None
    assert answer.malformed.startswith(clause)
    assert (answer.text, answer.calls) == (text, ())
    assert read(LLAMA, text).malformed is not None or text.startswith('{"name"')
    assert in_text(text, ()) is None or clause == MARK


def test_one_call_at_a_time_is_said_where_a_template_takes_no_more() -> None:
    assert read(LLAMA, BARE, single=True).calls == (LOOKUP,)
    both = read(LLAMA, f"{BARE}; {BARE}", single=True)
    assert both.malformed == "2 tools are called at once, and this model's template takes one call at a time"
    assert both.text == f"{BARE}; {BARE}"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from(NAMES))
def test_arguments_come_back_whatever_they_hold(arguments: dict[str, Any], name: str) -> None:
    """Under both forms, and as the text of a service."""
    text = json.dumps(arguments, ensure_ascii=False)
    (called,) = read(HERMES, f'<tool_call>\n{{"name": "{name}", "arguments": {text}}}\n</tool_call>').calls
    (other,) = read(LLAMA, f'{{"name": "{name}", "parameters": {text}}}').calls
    expected = canonical_json(json.loads(text))
    assert canonical_json(called.arguments) == canonical_json(other.arguments) == expected
    assert canonical_json(arguments_of(json.dumps(arguments))) == expected


PIECES = [
    *(
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "<think>",
        "</think>",
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
    ),
    *(
        "\\",
        "\\ud800",
        "\ud800",
        "\0",
        "\n",
        " ",
        "`",
        ";",
        "null",
        "NaN",
        "1e999",
        "9" * 5000,
        "é",
        "{" * 200,
    ),
    *('"name"', '"arguments"', '"parameters"', '"lookup"', "lookup", '{"name": "lookup", "arguments": {}}'),
]
SEEDS = [
    ONE,
    f"Let me look.\n{ONE}\n{ONE}",
    f"<think>\nSo.\n</think>\n\n{ONE}",
    BARE,
    f"<|python_tag|>{BARE};{BARE}",
]


def test_ten_thousand_texts_are_read_or_refused() -> None:
    """Parts left out, doubled, moved and put in: nothing raises, nothing is lost, and calls can be logged."""
    draw = random.Random(36)
    seen = {"calls": 0, "malformed": 0, "said": 0}
    for _ in range(10_000):
        text = draw.choice(SEEDS)
        for _ in range(draw.randrange(1, 4)):
            at, end = sorted(draw.randrange(len(text) + 1) for _ in range(2))
            way = draw.randrange(4)
            if way == 0:
                text = text[:at] + text[min(end, at + 12) :]
            elif way == 1:
                text = text[:at] + draw.choice(PIECES) + text[at:]
            elif way == 2:
                text = text[:at] + text[at:end] * 2 + text[end:]
            else:
                text = text[at:end] + text[:at] + text[end:]
        for form in (HERMES, LLAMA):
            answer = read(form, text, draw.choice(("stop", "stop", "length")), single=draw.random() < 0.1)
            if answer.calls:
                assert answer.malformed is None
                canonical_json([each.arguments for each in answer.calls]).encode()
                seen["calls"] += 1
            elif answer.malformed is not None:
                assert answer.text == text
                assert 0 < len(answer.malformed) < 300
                assert "\n" not in answer.malformed
                seen["malformed"] += 1
            else:
                assert answer.text == without(text) or answer.text == text
                seen["said"] += 1
        service = calls_in(
            {"tool_calls": [{"function": {"name": "lookup", "arguments": text}}, text]}, Reading()
        )
        assert service is not None
        assert service.malformed
    assert min(seen.values()) > 200


@pytest.mark.parametrize(
    "text", ["<tool_call>" * 100_000, " " * 500_000 + "<tool_call>", '{"name":' * 100_000]
)
def test_long_texts_take_no_time(text: str) -> None:
    for form in (HERMES, LLAMA):
        answer = read(form, text)
        assert answer.calls == ()
        assert answer.text == text
