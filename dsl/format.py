"""One layout for every recipe.

What was written stays as it was written, token for token and comment for comment; only the
white space between is set anew, and the commas that end a list.  What has been formatted is
left as it is, and it says the same as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from synth.base.diagnostics.source import Source
from synth.base.display import text_width
from synth.dsl.layout import Group, Row, Segment, TextBlock, layout
from synth.dsl.parse import parse
from synth.dsl.recovery.brackets import PAIRS
from synth.dsl.recovery.prepare import prepare
from synth.dsl.tables import tables

# Columns of a line that can be broken; texts are never broken.
WIDTH = 110
INDENT = "  "


def format_source(source: Source) -> str | None:
    """The text of a recipe in the one layout, or None when something is wrong with its syntax
    or a part of it could not be read.

    Statements stand on lines of their own, two spaces deeper for each block around them.  A
    block that stands on one line stays there if it fits; so does a list, and one that was broken
    is joined unless a comma ends it.  What does not fit is broken after its bracket, an item a
    line.  Of several blank lines one is kept, but none where a block begins or ends.
    """
    if source.replaced or parse(source)[1]:
        return None
    reading = tables().parse_interactive(prepare(source).text, start="start")
    printer = _Printer()
    printer.rows(layout(source, reading.iter_parse()), 0, "")
    return "".join(printer.written)


def _width(text: str) -> int:
    return len(text) if text.isascii() else text_width(text)


class _Printer:
    """Writes rows; `column` is how many columns of the last line are filled."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.column = 0

    def write(self, text: str) -> None:
        self.written.append(text)
        self.column += _width(text)

    def indent(self, depth: int) -> None:
        self.column = 0
        self.write(INDENT * depth)

    def comment(self, text: str) -> None:
        if text:
            self.write(f"  {text}")

    def rows(self, rows: Sequence[Row], depth: int, end: str) -> None:
        """Each row with `end` and a line end after it."""
        for number, row in enumerate(rows):
            if row.spaced and number:
                self.write("\n")
            self.indent(depth)
            if row.pieces:
                self.pieces(row.pieces, depth, end)
                self.write(end)
                self.comment(row.comment)
            else:
                self.write(row.comment)
            self.write("\n")

    def pieces(self, pieces: Sequence[Segment], depth: int, end: str) -> None:
        for index, piece in enumerate(pieces):
            if isinstance(piece, str):
                self.write(piece)
            elif isinstance(piece, TextBlock):
                self.text_block(piece, depth + 1)
            elif piece.flat is not None and self.fits(piece.flat, pieces, index, end):
                self.write(piece.flat)
            else:
                self.group(piece, depth)

    def fits(self, flat: str, pieces: Sequence[Segment], index: int, end: str) -> bool:
        """Whether the piece at an index fits, with all up to where the line can be broken next."""
        column = self.column + _width(flat)
        for piece in islice(pieces, index + 1, None):
            if column > WIDTH:
                return False
            if isinstance(piece, Group):
                return column + len(piece.opener) <= WIDTH
            if isinstance(piece, TextBlock):
                return column + len(piece.quotes) <= WIDTH
            column += _width(piece)
        return column + len(end) <= WIDTH

    def group(self, group: Group, depth: int) -> None:
        self.write(group.opener)
        self.comment(group.comment)
        self.write("\n")
        self.rows(group.rows, depth + 1, "" if group.opener == "{" else ",")
        self.indent(depth)
        self.write(PAIRS[group.opener])

    def text_block(self, block: TextBlock, depth: int) -> None:
        self.write(f"{block.quotes}\n")
        for line in block.lines:
            # Of several carriage returns the last is read as part of the line end.
            ending = "\r\n" if line.endswith("\r") else "\n"
            self.write(f"{INDENT * depth}{line}{ending}" if line else "\n")
        self.indent(depth)
        self.write('"""')
