"""Python files in recipes: what is read of them, what is refused, and what their digest follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import Compiled, compile_file

_RECIPE = """edition 1

recipe r {{ seed = 1 }}

use lib from "lib/lib.py"

schema Order {{ number: text, item: text, late: count, licence: text? }}

model m: model<chat, json> from simulated()

conversation c times 2 {{
  draw n from [1, 2]
  step order: json<Order> by m {{ prompt = "{{{{ n }}}} {{{{ Order | json_schema }}}}" }}
  {let}
  turn ask: user by m {{ prompt = "Ask about {{{{ order.item }}}}." {check} }}
  turn answer: model by m {{ sees = transcript }}
}}

export train: messages from c to "out/train"
"""


def compiled(folder: Path, files: dict[str, str], *, let: str = "", check: str = "") -> Compiled:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    recipe = folder / "r.recipe"
    block = f", check {{ {check} }}, retry = 1" if check else ""
    recipe.write_text(_RECIPE.format(let=let, check=block), "utf-8")
    return compile_file(recipe)


def refused(folder: Path, python: str, **written: str) -> list[tuple[str, str, str]]:
    """Code, place and message of what is said."""
    with pytest.raises(RecipeError) as raised:
        compiled(folder, {"lib/lib.py": python}, **written)
    found = []
    for each in raised.value.diagnostics:
        if each.code.startswith("E"):
            assert each.primary is not None
            line, _ = each.primary.source.position(each.primary.start)
            name = each.primary.source.name.removeprefix(f"{folder}/")
            found.append((each.code, f"{name}:{line}", each.message))
    return found


def source(folder: Path, files: dict[str, str]) -> str:
    plan = compiled(folder, files, let="let x = lib.f(n)").plan
    (function,) = plan.functions
    return function.source


def test_nothing_of_a_file_is_run_and_only_what_is_used_is_bound(tmp_path: Path) -> None:
    python = f"""
open({str(tmp_path / "ran")!r}, "w").close()
import somewhere_else


def f(n: int, of: "str" = "x") -> dict[str, list[int]]:
    return {{}}


def unused(x, *y):
    ...
"""
    plan = compiled(tmp_path, {"lib/lib.py": python}, let="let x = lib.f(n)").plan
    (function,) = plan.functions
    assert (function.name, function.path, function.packages) == ("lib.f", "lib/lib.py", ("somewhere_else",))
    assert [(each.name, each.type.kind, each.required) for each in function.parameters] == [
        ("n", "count", True),
        ("of", "text", False),
    ]
    assert function.returns.kind == "record"
    assert function.returns.items is not None
    assert not (tmp_path / "ran").exists()


def test_what_names_a_source_is_what_it_does(tmp_path: Path) -> None:
    helper = "def g(n: int) -> int:\n    return n\n"
    before = source(
        tmp_path, {"lib/lib.py": "import g\ndef f(n: int) -> int:\n    return n\n", "lib/g.py": helper}
    )
    same = '"""Words."""\nimport g  # why\n\n\ndef f(n: int) -> int:\n    """More."""\n    return (n)\n'
    assert source(tmp_path, {"lib/lib.py": same}) == before
    assert source(tmp_path, {"lib/g.py": f"{helper}# more\n"}) == before
    assert source(tmp_path, {"lib/g.py": helper.replace("return n", "return n + 1")}) != before
    assert source(tmp_path, {"lib/g.py": helper, "lib/lib.py": same.replace("(n)", "(-n)")}) != before


def test_a_file_imports_beside_itself_below_the_project_and_by_dots(tmp_path: Path) -> None:
    files = {
        "lib/lib.py": "import json, beside, numpy.linalg\nfrom tools.deep import x\nfrom . import dotted\n"
        "from ..tools import far\nfrom .types_ import Order\n"
        "def f(n: int, order: Order | None = None) -> Order | None:\n    return None\n",
        "lib/beside.py": "import tools.once",
        "tools/once.py": "",
        "lib/dotted.py": "",
        "lib/types_.py": "from typing import TypedDict\nclass Order(TypedDict):\n    number: str\n",
        "tools/__init__.py": "",
        "tools/deep.py": "",
        "tools/far.py": "",
    }
    (function,) = compiled(tmp_path, files, let="let x = lib.f(n, order)").plan.functions
    assert function.packages == ("numpy",)
    assert set(function.files) == set(files)
    assert function.files[0] == "lib/lib.py"
    assert function.parameters[1].type.field("number") is not None


@pytest.mark.parametrize(
    ("python", "let", "said"),
    [
        ("def f(n) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "`n` of `f` has no type")),
        ("\ndef f(n: int): ...", "lib.f(n)", ("E207", "lib/lib.py:2", "`f` does not say what it gives")),
        ("def f(n: tuple) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "`tuple` is no type")),
        ("def f(n: int | str) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "is of several types")),
        ("def f(n: list) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "does not say of what")),
        ("def f(n: dict[int, str]) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "are texts")),
        ("class O: ...\ndef f(n: O) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "`O` is a class")),
        ("A = list['A']\ndef f(n: A) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "made of itself")),
        ("def f(n: int) -> int: ...\n  x", "lib.f(n)", ("E207", "lib/lib.py:2", "this is no Python: ")),
        ("def f(n: int, **k: int) -> int: ...", "lib.f(n)", ("E207", "lib/lib.py:1", "takes `**k`")),
        ("def f(n: int) -> None: ...", "lib.f(n)", ("E202", "r.recipe:14", "`lib.f` gives nothing")),
        ("def f(n: int) -> int: ...", "lib.g(n)", ("E101", "r.recipe:14", "`lib` has no function `g`")),
        ("def f(n: int) -> int: ...", "lib.f()", ("E202", "r.recipe:14", "`lib.f` needs `n`")),
        ("def f(n: int) -> int: ...", "lib.f(n, 2)", ("E202", "r.recipe:14", "takes no such argument")),
        ("def f(n: str) -> int: ...", "lib.f(n)", ("E202", "r.recipe:14", "and `n` is a count")),
        ("def f(n: str) -> int: ...", "lib.f(order.licence)", ("E202", "r.recipe:14", "may be absent")),
        ("def f(n: str) -> int: ...", "lib.f(3)", ("E202", "r.recipe:14", "takes text, and `3`")),
        ("def f(n: str) -> int: ...", "lib.f(order.no)", ("E102", "r.recipe:14", "`order` has no `no`")),
        ("def f(n: str) -> int: ...", "lib.f(answer)", ("E110", "r.recipe:14", "is said after")),
        ("def f(n: str) -> int: ...", "lib.f(m)", ("E202", "r.recipe:14", "`m` is a model, not a value")),
        ("def f(n: str) -> int: ...", "r.f(n)", ("E101", "r.recipe:14", "`r` is not defined here")),
        ("def f(n: str) -> int: ...", "m.f(n)", ("E202", "r.recipe:14", "`m.f` is no function")),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_its_place(
    python: str, let: str, said: tuple[str, str, str], tmp_path: Path
) -> None:
    (found,) = refused(tmp_path, python, let=f"let x = {let}")
    assert found[:2] == said[:2]
    assert said[2] in found[2]


@pytest.mark.parametrize(
    ("python", "check", "said"),
    [
        ("def f(x: str) -> bool: ...", "lib.f()", "`lib.f` gives a boolean"),
        ("def f() -> str | None: ...", "lib.f()", "`lib.f` takes nothing"),
        ("def f(x: int) -> str | None: ...", "lib.f()", "`lib.f` checks a count, and this is text"),
        ("def f(x: str, y: int) -> str | None: ...", 'lib.f("a")', '`y` of `lib.f` takes a count, and `"a"`'),
    ],
)
def test_a_check_takes_what_it_judges_and_gives_a_reason(
    python: str, check: str, said: str, tmp_path: Path
) -> None:
    (found,) = refused(tmp_path, python, check=check)
    assert found[0] == "E202"
    assert said in found[2]


def test_a_source_asks_a_function_of_what_its_rows_are(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/lib.py").write_text("def f(x: str) -> str | None: ...")
    (tmp_path / "r.recipe").write_text(
        'edition 1\nrecipe r { seed = 1 }\nuse lib from "lib/lib.py"\n'
        'source s: messages from jsonl("a.jsonl") { keep { lib.f() } }\n'
    )
    with pytest.raises(RecipeError) as raised:
        compile_file(tmp_path / "r.recipe")
    said = [each.message for each in raised.value.diagnostics if each.code.startswith("E")]
    assert said == ["`lib.f` checks text, and this is messages"]


def test_records_are_compared_by_their_fields(tmp_path: Path) -> None:
    python = """
from typing import Literal, NotRequired, TypedDict

class Base(TypedDict):
    number: str

class Given(Base):
    late: float
    more: NotRequired[int]

def f(o: Given, any: dict[str, object], kind: Literal["a", "b"] = "a") -> str | None:
    return None
"""
    check = "lib.f(ask, order)"
    (found,) = refused(tmp_path, python, check=check)
    assert "`lib.f` checks a Given, and this is text" in found[2]
    plan = compiled(tmp_path, {"lib/lib.py": python}, let="let x = lib.f(order, order, kind = b)").plan
    assert plan.cohort("c").step("x").call.arguments["kind"] == "b"  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["../lib.py", "lib/none.py", "/etc/lib.py"])
def test_a_file_outside_or_not_there_is_refused(path: str, tmp_path: Path) -> None:
    recipe = tmp_path / "r.recipe"
    (tmp_path.parent / "lib.py").write_text("")
    recipe.write_text(_RECIPE.format(let="", check="").replace("lib/lib.py", path))
    with pytest.raises(RecipeError) as raised:
        compile_file(recipe)
    assert [each.code for each in raised.value.diagnostics] == ["E106"]
