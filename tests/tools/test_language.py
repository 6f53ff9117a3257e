"""Tools in recipes: what a model is told of them, what the sample fills in, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import RefPlan, ToolPlan, asking

_PYTHON = '''
from pathlib import Path
from typing import Literal, NotRequired, TypedDict


class Order(TypedDict):
    number: str
    days_late: NotRequired[int]


def lookup(number: str, order: Order) -> dict[str, str]:
    """The order's
    state.

    It is looked up
    anew each time.

    number: as it stands on the bill,
        such as A-1017
    order: never told

    Returns: its state
    """
    return {}


Kind = Literal["late", "broken"]


def google(number: str, kind: Kind = "late", note: str | None = None, *, much: float) -> None:
    """Pays back.

    Args:
        number (str): of the order
        much: in euros: 1.50, say

    Returns:
        nothing: at all
    """


def sphinx(lines: list[Order], any: dict[str, object], count: dict[str, int], file: Path, it: object) -> bool:
    """:param lines: what is sent
    :param str it: anything
    :return: whether it went
    """
    return True


def seen(number: str, calls: list[dict[str, object]]) -> str:
    """With \\ud800 and {{ braces }}."""
    return ""


def holds(calls: list[dict[str, object]], number: str) -> str | None:
    return None


def good(call: dict[str, object]) -> str | None:
    return None


def bad_calls(number: str, calls: str) -> str:
    """Sees."""
    return ""


def umlaut(größe: str) -> str:
    """Sees."""
    return ""


async def slow(number: str) -> str:
    """Waits."""
    return ""


def many(*numbers: str) -> str:
    """Takes all."""
    return ""
'''

_HEAD = """edition 1
recipe r { seed = 1 }
use shop from "lib/shop.py"
model agent: model<chat, tools> from simulated()
model world: model<chat, json> from simulated()
schema Order { number: text, item: text }
set orders: Order { a { number = "1", item = "kettle" }, b { number = "2", item = "lamp" } }
tool lookup by shop.lookup
"""
_WIKI = '## Asks.\ntool wiki: text by world { q: text, prompt = "{{ q }}" }\n'


def _written(tools: str, head: str = "", more: str = "", before: str = "", after: str = "") -> str:
    return (
        f"{_HEAD}{head}\nconversation c over order in orders times 2 {{\n  draw n from [1, 2]\n  {before}\n"
        f'  turn ask: user = "Question {{{{ n }}}}"\n'
        f"  turn reply: model by agent {{ sees = transcript, tools = {tools}{more} }}\n{after}}}\n"
    )


def _plan(folder: Path, text: str, python: str = _PYTHON) -> Plan:
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "shop.py").write_text(python, "utf-8")
    (folder / "r.recipe").write_text(text, "utf-8")
    return compile_file(folder / "r.recipe").plan


def _tool(folder: Path, name: str, given: str = "", python: str = _PYTHON, head: str = "") -> ToolPlan:
    plan = _plan(
        folder,
        _written(f"[{name}{given}]", f"tool {name} by shop.{name}\n" * (name != "lookup") + head),
        python,
    )
    return plan.cohort("c").step("reply").tools[0]


def _about(schema: dict[str, Any]) -> dict[str, str]:
    return {name: each["description"] for name, each in schema["properties"].items() if "description" in each}


def _faults(folder: Path, text: str) -> list[Diagnostic]:
    with pytest.raises(RecipeError) as raised:
        _plan(folder, text)
    return [each for each in raised.value.diagnostics if each.code.startswith("E")]


def test_a_docstring_says_what_a_tool_is_for_and_what_its_arguments_are(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "lookup", "(order = order)")
    assert tool.description == "The order's state.\n\nIt is looked up anew each time."
    assert _about(tool.parameters) == {"number": "as it stands on the bill, such as A-1017"}
    assert tool.given == {"order": RefPlan(path=("order",))}
    assert tool.call is not None
    assert tool.call.name == "shop.lookup"
    google = _tool(tmp_path, "google")
    assert google.description == "Pays back."
    assert _about(google.parameters) == {"number": "of the order", "much": "in euros: 1.50, say"}
    assert google.parameters["required"] == ["number", "much"]
    assert google.parameters["properties"]["kind"] == {"type": "string", "enum": ["late", "broken"]}  # type: ignore[call-overload, index]
    sphinx = _tool(tmp_path, "sphinx")
    assert (sphinx.description, _about(sphinx.parameters)) == (
        "",
        {"lines": "what is sent", "it": "anything"},
    )


def test_arguments_are_told_as_json_schema(tmp_path: Path) -> None:
    assert _tool(tmp_path, "sphinx").parameters == {
        "type": "object",
        "properties": {
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "string"},
                        "days_late": {"type": "integer", "minimum": 0},
                    },
                    "required": ["number"],
                    "additionalProperties": False,
                },
                "description": "what is sent",
            },
            "any": {"type": "object"},
            "count": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
            "file": {"type": "string"},
            "it": {"description": "anything"},
        },
        "required": ["lines", "any", "count", "file", "it"],
        "additionalProperties": False,
    }


def test_a_docstring_belongs_to_the_turn_that_has_the_tool_and_to_nothing_else(tmp_path: Path) -> None:
    plan = _plan(tmp_path, _written("[lookup(order = order)]"))
    other = _plan(tmp_path, _written("[lookup(order = order)]"), _PYTHON.replace("anew each time", "at once"))
    assert plan.functions == other.functions
    assert plan.fingerprint(plan.cohort("c")) != other.fingerprint(other.cohort("c"))
    above = _plan(
        tmp_path,
        _written("[find]", "## Looks it up.\n## number: the number\ntool find by shop.lookup\n").replace(
            "[find]", "[lookup(order = order), find(order = order)]"
        ),
    )
    _, tool = above.cohort("c").step("reply").tools
    assert (tool.description, _about(tool.parameters)) == ("Looks it up.", {"number": "the number"})


def test_the_calls_before_are_no_argument(tmp_path: Path) -> None:
    tool = _tool(tmp_path, "seen")
    assert (tool.sees_calls, list(tool.parameters["properties"])) == (True, ["number"])  # type: ignore[arg-type]
    assert tool.description == "With ? and {{ braces }}."


def test_what_a_model_plays_is_a_step_of_its_own(tmp_path: Path) -> None:
    wiki = """
## Searches the wiki.
## topic: where
tool wiki: json<Order> by world {
  ## What to look
  ## for.
  query: text(1..200)
  topic: enum<shop, law>?
  order: Order
  system = "You are a wiki."
  prompt = "{{ order.item }} {{ topic }}: {{ query }}"
  temperature = 0.1
  check { length(..400) }
  retry = 1
}
"""
    plan = _plan(tmp_path, _written("[lookup(order = order), wiki(order = order)]", wiki))
    reply = plan.cohort("c").step("reply")
    _, tool = reply.tools
    (played,) = reply.players
    assert (tool.name, tool.description, tool.call) == ("wiki", "Searches the wiki.", None)
    assert _about(tool.parameters) == {"query": "What to look for.", "topic": "where"}
    assert (tool.parameters["required"], tool.given) == (["query"], {"order": RefPlan(path=("order",))})
    assert (played.name, played.model, played.retry, played.sampling.temperature) == (
        "reply.wiki",
        "world",
        1,
        0.1,
    )
    assert [each.name for each in played.checks] == ["length"]
    assert [each.name for each in asking(plan.cohort("c").steps)] == ["reply", "reply.wiki"]
    assert {each.name for each in plan.models} == {"agent", "world"}


def test_what_fills_an_argument_is_waited_for_and_makes_samples_anew(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"number": "1", "item": "x"}\n', "utf-8")
    text = _written(
        "[lookup(order = order), wiki(q = note)]",
        _WIKI,
        before='step note: text by agent { prompt = "x {{ n }}" }',
    )
    text = text.replace(
        "set orders: Order {", 'source orders: Order from jsonl("rows.jsonl")\nset others: Order {'
    )
    cohort = _plan(tmp_path, text).cohort("c")
    assert "note" in cohort.step("reply").needs
    assert cohort.rows is not None
    assert cohort.rows.uses == (("order",),)


def test_calls_are_a_value_beside_what_is_said(tmp_path: Path) -> None:
    after = """  let again = shop.holds(reply.calls, order.number)
  turn more: user = "{{ reply.calls | json }} {{ again }}"
  turn last: model by agent { sees = transcript }
  keep { shop.good(reply.calls) }
"""
    text = _written(
        "[lookup(order = order)]",
        more=", check { shop.holds(reply.calls, order.number), "
        'shop.good(reply.calls), contains(reply.calls.name, "look") }, retry = 1',
        after=after,
    )
    text += 'conversation d over up in c { turn a: user = "{{ up.reply.calls | json }}", '
    text += "turn b: model by agent { sees = transcript } }\n"
    text += 'export e: messages from c to "out/e" { columns { called = c.reply.calls } }\n'
    plan = _plan(tmp_path, text)
    first, second, third = plan.cohort("c").step("reply").checks
    assert (first.of, first.arguments["calls"]) == (None, RefPlan(path=("reply", "calls")))
    assert (second.of, third.of) == (("calls",), ("calls", "name"))
    assert plan.cohort("c").keep[0].of == ("reply", "calls")
    assert "reply" in plan.cohort("c").step("again").needs


def test_tools_of_a_library_are_called_by_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "house.recipe").write_text(
        'edition 1\nlibrary house\nuse shop from "shop.py"\ntool google by shop.google\n', "utf-8"
    )
    plan = _plan(
        tmp_path,
        _written("[lookup(order = order), house.google(much = 1.5)]", 'use house from "lib/house.recipe"\n'),
    )
    _, tool = plan.cohort("c").step("reply").tools
    assert (tool.name, tool.given, plan.function(tool.call).path) == ("google", {"much": 1.5}, "lib/shop.py")  # type: ignore[arg-type]


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
    (fault, *more) = _faults(tmp_path, _written(tools, f"{head}\n"))
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
    text = _written("[lookup(order = order)]")
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
    (fault, *more) = _faults(tmp_path, text)
    assert (fault.code, more) == (code, [])
    assert message in fault.message


def test_a_pairs_answers_call_no_tools(tmp_path: Path) -> None:
    text = _written("[lookup(order = order)]")
    pair = "turn x: model by agent { sees = transcript, tools = [wiki] }, chosen = c.reply, rejected = x"
    (fault,) = _faults(tmp_path, f"{text}{_WIKI}preference p from c {{ {pair} }}\n")
    assert (fault.code, "which call no tools" in fault.message) == ("E108", True)
