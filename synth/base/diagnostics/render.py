"""Diagnostics for a terminal, for a program, and for GitHub's annotations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.diagnostics.excerpt import Excerpt, Mark, Paint
from synth.base.diagnostics.source import Source, Span
from synth.base.display import visible

_LEAST_WIDTH = 40
_GITHUB_NAMES = {"column": "col", "end_line": "endLine", "end_column": "endColumn"}


def to_text(diagnostics: Iterable[Diagnostic], *, color: bool, width: int) -> str:
    """For people: each diagnostic with the lines it is about, an empty line between two.

    `width` is the terminal's, in columns; longer lines are cut around what is marked.
    """
    paint = Paint(color)
    return "\n\n".join(_block(item, paint, max(width, _LEAST_WIDTH)) for item in diagnostics)


def to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """For programs.  Lines and columns start at 1 and count code points; the end is exclusive.
    `file` and the places are None for a fault of the command line."""
    records = []
    for item in diagnostics:
        place = dict.fromkeys(("file", "line", "column", "end_line", "end_column"))
        if item.primary is not None:
            place = _place(item.primary)
        records.append(
            {
                "code": item.code,
                "severity": item.severity.value,
                "message": item.message,
                **place,
                "hint": item.hint,
            }
        )
    return records


def to_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Workflow commands, one line each: GitHub shows them beside the line of a pull request."""
    lines = []
    for item in diagnostics:
        place = _place(item.primary) if item.primary is not None else {}
        properties = {_GITHUB_NAMES.get(key, key): value for key, value in place.items()}
        properties["title"] = item.code
        listed = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
        text = visible(item.message) + (f"\n{visible(item.hint)}" if item.hint else "")
        lines.append(f"::{item.severity.value} {listed}::{_escape(text)}")
    return "\n".join(lines)


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(visible(text)).replace(":", "%3A").replace(",", "%2C")


# Text ----------------------------------------------------------------------------------


def _block(item: Diagnostic, paint: Paint, width: int) -> str:
    marks = _marks(item)
    last = max((mark.line for mark in marks), default=0)
    gutter = max(2, len(str(last)))
    tone = "error" if item.severity is Severity.ERROR else "warning"
    edge = " " * (gutter + 1) + paint("|", "frame")
    where = "command line"
    if item.primary is not None:
        line, column = item.primary.source.position(item.primary.start)
        where = f"{visible(item.primary.source.name)}:{line}:{column}"
    lines = [
        paint(f"{tone}[{item.code}]", tone) + paint(f": {visible(item.message)}", "strong"),
        " " * gutter + paint("-->", "frame") + f" {where}",
    ]
    excerpt = Excerpt(paint, tone, gutter, width - gutter - 3)
    if item.primary is None and item.command:
        lines += (edge, *excerpt.command(item.command, _faulty_word(item), item.label))
    elif marks:
        lines.append(edge)
    source = item.primary.source if item.primary is not None else None
    for file, placed in _by_source(marks):
        if source is not None and file is not source:
            line, column = file.position(placed[0].start)
            elsewhere = f" {visible(file.name)}:{line}:{column}"
            lines += (edge, " " * gutter + paint(":::", "frame") + elsewhere, edge)
        lines += excerpt.lines(file, placed)
    notes = [("hint", item.hint)] if item.hint else []
    if item.fix is not None:
        notes.append(("fix", item.fix.summary))
    if notes:
        lines.append(edge)
    for word, text in notes:
        lead = " " * (gutter + 1) + paint("=", "frame")
        lines.append(f"{lead} {paint(f'{word}:', 'strong')} {visible(text)}")
    return "\n".join(lines)


def _marks(item: Diagnostic) -> list[Mark]:
    marks = [Mark.of(label.span, label.text, primary=False) for label in item.secondary]
    if item.primary is not None:
        marks.append(Mark.of(item.primary, item.label, primary=True))
    return marks


def _by_source(marks: Sequence[Mark]) -> list[tuple[Source, list[Mark]]]:
    """The marks of each file in the order of their places, the primary mark's file first."""
    files: dict[int, list[Mark]] = {}
    for mark in sorted(marks, key=lambda mark: not mark.primary):
        files.setdefault(id(mark.source), []).append(mark)
    return [(group[0].source, sorted(group, key=lambda mark: mark.start)) for group in files.values()]


def _faulty_word(item: Diagnostic) -> str:
    """The word of the message, between backticks, that stands last in the quoted command."""
    words = [word for word in item.message.split("`")[1::2] if word in item.command]
    return max(words, key=item.command.rfind, default="")
