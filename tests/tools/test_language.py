"""Tools in recipes: what a model is told of them, what the sample fills in, and what was called."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.compiler.compile import compile_text
from synth.compiler.plan.steps import RefPlan, asking
from tests.tools.recipes import PYTHON, WIKI, about, plan_of, tool_of, written


def test_a_docstring_says_what_a_tool_is_for_and_what_its_arguments_are(tmp_path: Path) -> None:
    tool = tool_of(tmp_path, "lookup", "(order = order)")
    assert tool.description == "The order's state.\n\nIt is looked up anew each time."
    assert about(tool.parameters) == {"number": "as it stands on the bill, such as A-1017"}
    assert tool.given == {"order": RefPlan(path=("order",))}
    assert tool.call is not None
    assert tool.call.name == "shop.lookup"
    google = tool_of(tmp_path, "google")
    assert google.description == "Pays back."
    assert about(google.parameters) == {"number": "of the order", "much": "in euros: 1.50, say"}
    assert google.parameters["required"] == ["number", "much"]
    assert google.parameters["properties"]["kind"] == {"type": "string", "enum": ["late", "broken"]}  # type: ignore[call-overload, index]
    sphinx = tool_of(tmp_path, "sphinx")
    assert (sphinx.description, about(sphinx.parameters)) == (
        "",
        {"lines": "what is sent", "it": "anything"},
    )


@pytest.mark.parametrize(
    ("docs", "description", "number"),
    [
        (
            "Pays.\n\nNote: only for own orders.\nAt once.\n\nnumber: of it",
            "Pays.\n\nNote: only for own orders. At once.",
            "of it",
        ),
        ("Pays.\nNote:\n    Once.\n\nArgs:\n    number: of it\n    Note: ask", "Pays. Note: Once.", "of it"),
        ("Pays.\nExample: A-1.\n\nnumber: of it\nReturns: it", "Pays. Example: A-1.", "of it"),
        ("Pays.\n\nReturns:\n    number: again\n\nArgs:\n    number: of it", "Pays.", "of it"),
        (
            "Pays.\n\nParameters\n----------\nnumber : str\n    of it\n    all\n\n"
            "Returns\n-------\nnumber : str\n    x",
            "Pays.",
            "of it all",
        ),
        (
            "Pays.\n\nMore\n----\nx\n\nParameters\n----------\nnumber\n    of it\nother : int\n    x",
            "Pays.",
            "of it",
        ),
        ("Pays.\n\n---\n\nnumber: of it", "Pays.\n\n---", "of it"),
    ],
)
def test_docstrings_are_read_in_the_forms_that_they_have(
    docs: str, description: str, number: str, tmp_path: Path
) -> None:
    written = "\n".join(f"    {line}" if line else "" for line in docs.split("\n")).strip()
    python = f'{PYTHON}\n\ndef pays(number: str) -> str:\n    """{written}\n    """\n    return ""\n'
    pays = tool_of(tmp_path, "pays", python=python)
    assert (pays.description, about(pays.parameters)) == (description, {"number": number})


def test_arguments_are_told_as_json_schema(tmp_path: Path) -> None:
    assert tool_of(tmp_path, "sphinx").parameters == {
        "type": "object",
        "properties": {
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "string"},
                        "days_late": {"type": "integer"},
                    },
                    "required": ["number"],
                    "additionalProperties": False,
                },
                "description": "what is sent",
            },
            "any": {"type": "object"},
            "count": {"type": "object", "additionalProperties": {"type": "integer"}},
            "file": {"type": "string"},
            "it": {"description": "anything"},
        },
        "required": ["lines", "any", "count", "file", "it"],
        "additionalProperties": False,
    }


def test_a_docstring_belongs_to_the_turn_that_has_the_tool_and_to_nothing_else(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, written("[lookup(order = order)]"))
    other = plan_of(tmp_path, written("[lookup(order = order)]"), PYTHON.replace("anew each time", "at once"))
    assert plan.functions == other.functions
    assert plan.fingerprint(plan.cohort("c")) != other.fingerprint(other.cohort("c"))
    above = plan_of(
        tmp_path,
        written("[find]", "## Looks it up.\n## number: the number\ntool find by shop.lookup\n").replace(
            "[find]", "[lookup(order = order), find(order = order)]"
        ),
    )
    _, tool = above.cohort("c").step("reply").tools
    assert (tool.description, about(tool.parameters)) == ("Looks it up.", {"number": "the number"})


def test_the_calls_before_are_no_argument(tmp_path: Path) -> None:
    tool = tool_of(tmp_path, "seen")
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
    plan = plan_of(tmp_path, written("[lookup(order = order), wiki(order = order)]", wiki))
    reply = plan.cohort("c").step("reply")
    _, tool = reply.tools
    (played,) = reply.players
    assert (tool.name, tool.description, tool.call) == ("wiki", "Searches the wiki.", None)
    assert about(tool.parameters) == {"query": "What to look for.", "topic": "where"}
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
    text = written(
        "[lookup(order = order), wiki(q = note)]",
        WIKI,
        before='step note: text by agent { prompt = "x {{ n }}" }',
    )
    text = text.replace(
        "set orders: Order {", 'source orders: Order from jsonl("rows.jsonl")\nset others: Order {'
    )
    cohort = plan_of(tmp_path, text).cohort("c")
    assert "note" in cohort.step("reply").needs
    assert cohort.rows is not None
    assert cohort.rows.uses == (("order",),)


def test_calls_are_a_value_beside_what_is_said(tmp_path: Path) -> None:
    after = """  let again = shop.holds(reply.calls, order.number)
  turn more: user = "{{ reply.calls | json }} {{ again }}"
  turn last: model by agent { sees = transcript }
  keep { shop.good(reply.calls) }
"""
    text = written(
        "[lookup(order = order)]",
        more=", check { shop.holds(reply.calls, order.number), "
        'shop.good(reply.calls), contains(reply.calls.name, "look") }, retry = 1',
        after=after,
    )
    text += 'conversation d over up in c { turn a: user = "{{ up.reply.calls | json }}", '
    text += "turn b: model by agent { sees = transcript } }\n"
    text += 'export e: messages from c to "out/e" { columns { called = c.reply.calls } }\n'
    plan = plan_of(tmp_path, text)
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
    plan = plan_of(
        tmp_path,
        written("[lookup(order = order), house.google(much = 1.5)]", 'use house from "lib/house.recipe"\n'),
    )
    _, tool = plan.cohort("c").step("reply").tools
    assert (tool.name, tool.given, plan.function(tool.call).path) == ("google", {"much": 1.5}, "lib/shop.py")  # type: ignore[arg-type]


def test_a_bound_that_no_argument_reaches_is_not_told() -> None:
    recipe = f"""edition 1
recipe r {{ seed = 1 }}
model one: model<chat, tools> from simulated()
tool look: text by one {{
  n: count(2..{10**20})
  m: list<count(0..{2**63 - 1})>
  prompt = "{{{{ n }}}} {{{{ m | json }}}}"
}}
conversation c times 1 {{
  turn ask: user = "Hi"
  turn reply: model by one {{ sees = transcript, tools = [look] }}
}}
"""
    (tool,) = compile_text(recipe).plan.cohort("c").step("reply").tools
    assert tool.parameters["properties"] == {
        "n": {"type": "integer", "minimum": 2},
        "m": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}},
    }
