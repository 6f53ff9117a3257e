"""Sources, places in them, and diagnostics as they are drawn."""

from __future__ import annotations

from textwrap import dedent

from synth.dsl import Diagnostic, Source, Span, to_text


def lines(name: str, written: dict[int, str]) -> Source:
    """A source with these lines, and empty ones between."""
    return Source(name, "\n".join(written.get(number, "") for number in range(1, max(written) + 1)))


def at(source: Source, line: int, word: str) -> Span:
    start = source.text.index(word, source.line_starts[line - 1])
    return Span(source, start, start + len(word))


def text(*diagnostics: Diagnostic, width: int = 120) -> str:
    return to_text(diagnostics, color=False, width=width)


def dedented(written: str) -> str:
    return dedent(written).strip("\n")
