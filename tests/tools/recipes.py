"""Recipes with tools, and the Python file that they use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import ToolPlan

PYTHON = '''
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

HEAD = """edition 1
recipe r { seed = 1 }
use shop from "lib/shop.py"
model agent: model<chat, tools> from simulated()
model world: model<chat, json> from simulated()
schema Order { number: text, item: text }
set orders: Order { a { number = "1", item = "kettle" }, b { number = "2", item = "lamp" } }
tool lookup by shop.lookup
"""
WIKI = '## Asks.\ntool wiki: text by world { q: text, prompt = "{{ q }}" }\n'


def written(tools: str, head: str = "", more: str = "", before: str = "", after: str = "") -> str:
    return (
        f"{HEAD}{head}\nconversation c over order in orders times 2 {{\n  draw n from [1, 2]\n  {before}\n"
        f'  turn ask: user = "Question {{{{ n }}}}"\n'
        f"  turn reply: model by agent {{ sees = transcript, tools = {tools}{more} }}\n{after}}}\n"
    )


def plan_of(folder: Path, text: str, python: str = PYTHON) -> Plan:
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "shop.py").write_text(python, "utf-8")
    (folder / "r.recipe").write_text(text, "utf-8")
    return compile_file(folder / "r.recipe").plan


def tool_of(folder: Path, name: str, given: str = "", python: str = PYTHON, head: str = "") -> ToolPlan:
    plan = plan_of(
        folder,
        written(f"[{name}{given}]", f"tool {name} by shop.{name}\n" * (name != "lookup") + head),
        python,
    )
    return plan.cohort("c").step("reply").tools[0]


def about(schema: dict[str, Any]) -> dict[str, str]:
    return {name: each["description"] for name, each in schema["properties"].items() if "description" in each}


def faults(folder: Path, text: str) -> list[Diagnostic]:
    with pytest.raises(RecipeError) as raised:
        plan_of(folder, text)
    return [each for each in raised.value.diagnostics if each.code.startswith("E")]
