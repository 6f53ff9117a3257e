"""The recipes, ways to damage them, and a walk over a syntax tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.dsl import Diagnostic, Source, Span, Syntax, parse, to_text

HERE = Path(__file__).parent
SHIPPED = HERE.parent.parent / "recipes"
PATHS = {
    "persona.recipe": SHIPPED / "persona.recipe",
    "quickstart.recipe": SHIPPED / "quickstart.recipe",
    "pillars.recipe": SHIPPED / "pillars.recipe",
    "rag.recipe": SHIPPED / "rag.recipe",
    "house_style.recipe": SHIPPED / "lib" / "house_style.recipe",
}
RECIPES = {name: path.read_text("utf-8") for name, path in PATHS.items()}


def edited(name: str, old: str, new: str, count: int = 1) -> Source:
    """A recipe with the first occurrences of `old` replaced."""
    text = RECIPES[name]
    assert old in text
    return Source(name, text.replace(old, new, count))


def without_line(name: str, line: int) -> Source:
    lines = RECIPES[name].split("\n")
    return Source(name, "\n".join(lines[: line - 1] + lines[line:]))


def faults(text: str) -> list[Diagnostic]:
    return list(parse(Source("test.recipe", text))[1])


def only(text: str) -> Diagnostic:
    """The one diagnostic of a text."""
    diagnostics = faults(text)
    assert len(diagnostics) == 1, to_text(diagnostics, color=False, width=100)
    return diagnostics[0]


def clean(text: str) -> Syntax:
    """The syntax of a text without faults."""
    syntax, diagnostics = parse(Source("test.recipe", text))
    assert not diagnostics, to_text(diagnostics, color=False, width=100)
    return syntax


def rendered(source: Source, width: int = 120) -> str:
    return to_text(parse(source)[1], color=False, width=width)


def marked(diagnostic: Diagnostic) -> str:
    assert diagnostic.primary is not None
    return diagnostic.primary.text


def children(node: Any) -> Iterator[Any]:
    """The nodes below a node of a syntax tree."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(item) and not isinstance(item, (Span, Source)):
                yield item


def check_spans(syntax: Syntax) -> None:
    """Every node lies inside its parent, and the outermost inside the source."""
    waiting: list[tuple[Any, int, int]] = [(node, 0, len(syntax.source.text)) for node in syntax.statements]
    while waiting:
        node, low, high = waiting.pop()
        span = node.span
        assert span.source is syntax.source
        assert low <= span.start <= span.end <= high, node
        waiting += ((child, span.start, span.end) for child in children(node))
