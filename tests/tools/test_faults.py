"""What is refused of tools: one sentence each, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.recipes import WIKI, faults, written


@pytest.mark.parametrize(
    ("tools", "head", "code", "message", "hint"),
    [
        ("[lokup(order = order)]", "", "E101", "`lokup` is not defined", "`lookup`"),
        ("[lookup(order = order), lookup(order = order)]", "", "E104", "among the tools twice", "keep one"),
        ("[lookup(ordr = order)]", "", "E202", "takes no `ordr`", "`order`"),
        ("[lookup(order = order, order = order)]", "", "E104", "filled in twice", "keep one"),
        ("[lookup(order)]", "", "E202", "has the argument's name", "lookup(number = order)"),
        ("[lookup(order = n)]", "", "E202", "`order` of `lookup` is an Order, and `n` is a count", ""),
        ('[lookup(order = "x")]', "", "E202", "takes an Order", ""),
        ("[lookup(order = reply)]", "", "E110", "cannot be quoted in itself", ""),
        ("[]", "", "E107", "no tools in its list", "drop it"),
        ("lookup", "", "E202", "is a list of tools", "`tools = [lookup]`"),
        ("[shop.lookup]", "", "E202", "is a Python file, not a tool", "`tool lookup by shop.lookup`"),
        ("[agent]", "", "E202", "is a model, not a tool", ""),
        ('["lookup"]', "", "E202", "a tool is named here", "tools = ["),
        ("[lookup(order = order)], max_tool_calls = 0", "", "E202", "less than 1", ""),
        ("[lookup(order = order)], max_tool_calls = many", "", "E101", "`many` is not defined", ""),
        ("[s(calls = n)]", "tool s by shop.seen", "E202", "is given the calls before", "drop it"),
        (
            "[s]",
            "tool s by shop.bad_calls",
            "E202",
            "`calls` of `shop.bad_calls` is text",
            "list[dict[str, object]]",
        ),
        ("[s]", "tool s by shop.umlaut", "E202", "no name that services take", "without accents"),
        ("[s]", "tool s by shop.slow", "E207", "is async", ""),
        ("[s]", "tool s by shop.many", "E207", "takes `*numbers`", ""),
        ("[s]", "tool s by shop.nothing", "E101", "has no function `nothing`", ""),
        ("[s]", "tool s by orders", "E202", "not a Python function or a model", ""),
        (
            "[s]",
            'tool s: text by shop.seen { prompt = "x" }',
            "E108",
            "is a Python function",
            "`tool s by shop.seen`",
        ),
        ("[s]", "tool s by world", "E107", "has not a type", "tool wiki: text by world"),
        ("[s]", "tool s: text by world { q: text }", "E107", "is written from nothing", "prompt ="),
        ("[s]", 'tool s: text by world { q: text,\npromt = "{{ q }}" }', "E102", "no `promt`", "`prompt`"),
        (
            "[s]",
            'tool s: text by world { q: messages, prompt = "{{ q | chat }}" }',
            "E202",
            "no model writes",
            "fill it in",
        ),
        (
            "[s]",
            'tool s: text by world { q: text,\nprompt = "{{ order.item }}" }',
            "E101",
            "`order` is not defined",
            "knows its arguments alone",
        ),
        (
            "[s]",
            'tool s: text by world { orders: text, prompt = "{{ orders }}" }',
            "E104",
            "declared twice",
            "",
        ),
        (
            "[s]",
            'tool s: text by world { q: text,\nprompt = "{{ q }}", check { distinct() } }',
            "E202",
            "compares with other",
            "check the turn",
        ),
        (
            "[s]",
            'tool s: text by world { q: text,\nprompt = "{{ q }}", tools = [lookup] }',
            "E102",
            "no `tools`",
            "stands in a turn",
        ),
        (
            f"[{'s' * 65}]",
            f'tool {"s" * 65}: text by world {{ q: text, prompt = "{{{{ q }}}}" }}',
            "E202",
            "at most 64",
            "",
        ),
    ],
)
def test_a_fault_is_one_sentence_with_what_to_write(
    tmp_path: Path, tools: str, head: str, code: str, message: str, hint: str
) -> None:
    (fault, *more) = faults(tmp_path, written(tools, f"{head}\n"))
    assert (fault.code, more) == (code, [])
    assert message in fault.message
    assert hint in fault.hint


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        (
            'user = "Question {{ n }}"',
            'user by agent { prompt = "{{ n }}", tools = [lookup(order = order)] }',
            "E108",
            "a user's turn",
        ),
        (
            'user = "Question {{ n }}"',
            'user = "{{ n }}" { tools = [lookup(order = order)] }',
            "E108",
            "that a model writes",
        ),
        (
            "draw n from [1, 2]",
            'draw n from [1, 2]\n  step s: text by agent { prompt = "{{ n }}", tools = [lookup] }',
            "E102",
            "a step has no `tools`",
        ),
        ("by agent", "by world", "E401", "`world` cannot call tools"),
        (
            "model<chat, tools> from simulated()",
            "model<chat, tools> from pocket()",
            "E401",
            "pocket cannot give `tools`",
        ),
        (
            "from simulated()\nmodel world",
            'from vllm("google/gemma-3-1b-it")\nmodel world',
            "E403",
            "no place for them",
        ),
        (
            "sees = transcript, tools = [lookup(order = order)]",
            "sees = transcript, max_tool_calls = 3",
            "E107",
            "no tools that could be called",
        ),
        (
            "= [lookup(order = order)]",
            "= [lookup(order = order)], produces: json<Order>",
            "E108",
            "what it then says is text",
        ),
        ("tool lookup", 'rubric calls by world { a 1..2 = "Good?" }\ntool lookup', "", ""),
    ],
)
def test_tools_are_for_a_models_turn_by_one_that_can_call(
    tmp_path: Path, old: str, new: str, code: str, message: str
) -> None:
    text = written("[lookup(order = order)]")
    assert old in text
    text = text.replace(old, new)
    if not code:
        text, code, message = (
            text.replace("(order = order)]", "(order = order)], marks = calls"),
            "E104",
            "`calls`",
        )
    if "json<Order>" in new:
        text = text.replace("model<chat, tools>", "model<chat, json, tools>")
    (fault, *more) = faults(tmp_path, text)
    assert (fault.code, more) == (code, [])
    assert message in fault.message


def test_a_pairs_answers_call_no_tools(tmp_path: Path) -> None:
    text = written("[lookup(order = order)]")
    pair = "turn x: model by agent { sees = transcript, tools = [wiki] }, chosen = c.reply, rejected = x"
    (fault,) = faults(tmp_path, f"{text}{WIKI}preference p from c {{ {pair} }}\n")
    assert (fault.code, "which call no tools" in fault.message) == ("E108", True)
