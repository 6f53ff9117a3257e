"""The structure of the code: layers, rooms without circles, and files that one can take in."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.support import ROOT

# What is imported by whom: each from those before it alone.
LAYERS = ("base", "dsl", "compiler", "store", "runtime")
# Words of our own for what the field has a term for.  Keys of events and plans stay as they were.
OLD_NAMES = re.compile(
    r"\b(?:Books|\w*_books|Opening|Ledger|LiveLedger|Jury|Caller|LiveCaller|PreviewCaller|GaveUp|Missing|judge_composed|Stop"
    r"|Ticket|View|Tally|Piece|Holder|Need|Exam|Asks|Ask|Measure|MeasurePlan|open_measure|lineages?|lineage_of|\w*rehears\w*"
    r"|\w*echoes|_?mend(?:ed|ing)?|fell)\b"
)
OLD_FILES = """
books caller jury ledger opening accept stop tally view places refused plain exams asks measures rehearsal
mend
distinct runnable calls bind judging keep shares found past lookup hosted tries
""".split()
# Rooms in which no name is one of these words, which hide what a thing is.
VAGUE_NAMES = {"found", "said", "told", "each"}
# Of a conversation over rows, and of a step.
PUBLIC_FIELDS = {"each", "said"}
STARTS = {tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL}
NAMED_ROOMS = """
base dsl
compiler.plan compiler.outside compiler.check compiler.lint compiler.lower compiler.composed
compiler.alternation compiler.graph compiler.compile
compiler.bind.blocks compiler.bind.conversations compiler.bind.declarations
compiler.bind.expressions compiler.bind.functions compiler.bind.judging
compiler.bind.file compiler.bind.imports compiler.bind.overrides
compiler.stdlib.filters compiler.stdlib.folds compiler.stdlib.near_duplicates compiler.stdlib.render
compiler.stdlib.requirements compiler.stdlib.running compiler.stdlib.tool_definitions
compiler.stdlib.verdict
runtime.cohorts runtime.calls.applied runtime.calls.attempt runtime.calls.breaker runtime.calls.held
runtime.calls.models runtime.calls.reservation runtime.calls.retry
runtime.calls.rules runtime.calls.validate
store.log store.rescue store.forget
runtime.documents runtime.events runtime.money runtime.retrieval runtime.service
bench scripts
tests.bench tests.documents tests.dsl tests.kills tests.money tests.retrieval tests.store.log
tests.compiler.conversations tests.compiler.systems tests.compiler.test_bounds
tests.compiler.test_catalogue tests.compiler.test_checks tests.compiler.test_damage
tests.compiler.test_evaluations tests.compiler.test_hostile tests.compiler.test_kinds
tests.compiler.test_marks tests.compiler.test_mistakes tests.compiler.test_newcomers
tests.compiler.test_outputs tests.compiler.test_systems tests.draws tests.reference
""".split()
MOST_MODULES = 15
MOST_LINES = 400


def _sources() -> Iterator[Path]:
    for folder in ("synth", *LAYERS[1:], "bench", "tests", "editors", "scripts"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if ".venvs" not in path.parts)


def _name(path: Path) -> str:
    """`dsl.parse` for dsl/parse.py, `base.errors` for synth/base/errors.py, `synth.cli.run` for a command."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[:2] == ("synth", "base"):
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in _sources()}


def _module(name: str) -> str | None:
    """The module that an imported name is, or is of."""
    for layer in LAYERS:
        if name == f"synth.{layer}" or name.startswith(f"synth.{layer}."):
            name = name.removeprefix("synth.")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports wherever they stand, but for those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        # No expression holds a statement.
        elif not isinstance(child, ast.expr) and not _is_for_types(child):
            yield from _statements(child)


def _imports(name: str) -> set[str]:
    modules = set[str | None]()
    for node in _statements(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {_module(alias.name) for alias in node.names}
        else:
            assert node.level == 0, f"{name} imports by a relative name"
            modules |= {_module(f"{node.module}.{alias.name}") for alias in node.names}
    return {module for module in modules if module is not None and module != name}


STAGES = [name for name in MODULES if name.split(".")[0] in LAYERS]


@cache
def _all_imports() -> dict[str, set[str]]:
    return {name: _imports(name) for name in MODULES}


def _circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            circle = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(circle) > 1:
                circles.append(sorted(circle))

    for node in edges:
        if node not in index:
            visit(node)
    return circles


def _between(rooms: Callable[[str, str], tuple[str, str] | None]) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = defaultdict(set)
    for name in STAGES:
        for other in _all_imports()[name] & set(STAGES):
            pair = rooms(name, other)
            # A stage's own `__init__` is its face, not one of its rooms.
            if pair is not None and pair[0] != pair[1] and not {name, other} & set(LAYERS):
                edges[pair[0]].add(pair[1])
    return edges


def _rooms(name: str, other: str) -> tuple[str, str]:
    return ".".join(name.split(".")[:2]), ".".join(other.split(".")[:2])


def _folder(name: str) -> str:
    return name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]


def _folders(name: str, other: str) -> tuple[str, str] | None:
    """Folders of one room side by side; what is in a room's own folder is for all of them."""
    mine, others = _folder(name), _folder(other)
    apart = not f"{mine}.".startswith(f"{others}.") and not f"{others}.".startswith(f"{mine}.")
    return (mine, others) if apart and mine.split(".")[:2] == others.split(".")[:2] else None


def test_imports_run_one_way() -> None:
    for name in STAGES:
        layer = LAYERS.index(name.split(".")[0])
        for other in _all_imports()[name]:
            assert other.split(".")[0] in LAYERS[: layer + 1], f"{name} imports {other}"


def test_what_is_shipped_imports_nothing_that_is_not() -> None:
    for name, imports in _all_imports().items():
        if name.split(".")[0] in (*LAYERS, "synth"):
            assert not {other for other in imports if other.split(".")[0] in ("bench", "tests", "editors")}, (
                name
            )


@pytest.mark.parametrize("rooms", [_rooms, _folders, lambda name, other: (name, other)])
def test_there_is_no_circle(rooms: Callable[[str, str], tuple[str, str] | None]) -> None:
    assert _circles(_between(rooms)) == []


def test_a_circle_would_be_found() -> None:
    assert _circles({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}) == [["b", "c"]]


def test_folders_and_files_can_be_taken_in() -> None:
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    # One command a file.
    del folders[ROOT / "synth" / "cli"]
    assert {str(folder): count for folder, count in folders.items() if count > MOST_MODULES} == {}
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def _threes(tokens: Iterable[tokenize.TokenInfo]) -> Iterator[tuple[tokenize.TokenInfo, ...]]:
    for (before, token), (_, after) in pairwise(pairwise(tokens)):
        yield before, token, after


def _is_field(before: tokenize.TokenInfo, token: tokenize.TokenInfo, after: tokenize.TokenInfo) -> bool:
    """Whether it is one of `PUBLIC_FIELDS`: looked up, declared, or given by name."""
    declared = before.string == "def" or (before.type in STARTS and after.string == ":")
    by_name = after.string == "=" and after.start == token.end
    return token.string in PUBLIC_FIELDS and (before.string == "." or declared or by_name)


def test_names_say_what_a_thing_is() -> None:
    vague = set()
    for name, path in MODULES.items():
        if f"{name}.".startswith(tuple(f"{room}." for room in NAMED_ROOMS)):
            tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
            for before, token, after in _threes(tokens):
                vaguely = token.type == tokenize.NAME and token.string.strip("_") in VAGUE_NAMES
                if vaguely and not _is_field(before, token, after):
                    vague.add((name, token.string))
    assert vague == set()


def test_names_are_the_fields() -> None:
    old = set()
    for name in STAGES:
        assert name.rpartition(".")[2] not in OLD_FILES or MODULES[name].name == "__init__.py", name
        # Keys of events keep their names, and there they are names of fields.
        if name == "store.log.payloads":
            continue
        text = MODULES[name].read_text("utf-8")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and OLD_NAMES.fullmatch(token.string):
                old.add((name, token.string))
    assert old == set()
