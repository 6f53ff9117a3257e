"""Tables for notebooks: HTML in which a text that somebody else wrote stays text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from synth.base.display import visible

_CELL = "text-align: {align}; vertical-align: top; white-space: pre-wrap"


def html_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with a line above it; numbers flush right, texts in the direction they are read in."""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    inner = f"<caption>{_text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<table>{inner}</table>"


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
        return f'<td style="{_CELL.format(align="right")}">{number}</td>'
    text = "" if value is None else str(value)
    return f'<td dir="auto" style="{_CELL.format(align="start")}">{_text(text)}</td>'


def _text(text: str) -> str:
    """Text as HTML; characters that would not show are made visible, save for line ends."""
    return "\n".join(escape(visible(line)) for line in text.split("\n"))
