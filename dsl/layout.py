"""A recipe as its formatter sees it: rows of tokens, and brackets that hold rows again.

Line ends stand only between statements and inside brackets, and comments only in line ends, so
every comment has a row that it ends, or is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from synth.base.diagnostics.source import Source
from synth.dsl.recovery.brackets import PAIRS

if TYPE_CHECKING:
    from lark import Token

_CLOSERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_NO_SPACE_BEFORE = frozenset({"COLON", "COMMA", "DOT", "LESSTHAN", "MORETHAN", "OPTIONAL", "LPAR"})
_NO_SPACE_AFTER = frozenset({"DOT", "LESSTHAN"})


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A text of several lines, without the indentation that they have in common."""

    quotes: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Two brackets and the rows between them; `comment` stands behind the first.

    `flat` is all of it on one line, or None when it may not stand there.
    """

    opener: str
    comment: str
    rows: tuple[Row, ...]
    flat: str | None


Segment = str | TextBlock | Group


@dataclass(frozen=True, slots=True)
class Row:
    """A statement, an item, or a line of documentation, with the comment at its end.

    A comment on a line of its own is a row without pieces.  `spaced` says that blank lines
    stand above.
    """

    pieces: tuple[Segment, ...]
    comment: str
    spaced: bool

    @property
    def flat(self) -> str | None:
        """The row on one line, or None when it may not stand there."""
        written = [""]
        for piece in self.pieces:
            text = piece.flat if isinstance(piece, Group) else piece
            if not isinstance(text, str):
                return None
            written.append(text)
        return None if self.comment else "".join(written)


def layout(source: Source, tokens: Iterator[Token]) -> tuple[Row, ...]:
    """The rows of a source without faults; `tokens` are all that the parser reads of it."""
    file = _Body(source, tokens)
    file.read_to("$END")
    return tuple(file.rows)


@dataclass(slots=True)
class _Body:
    """What stands between two brackets, or in the file, while it is read."""

    source: Source
    tokens: Iterator[Token]
    opener: str = ""
    comment: str = ""
    rows: list[Row] = field(default_factory=list)
    pieces: list[Segment] = field(default_factory=list)
    # The type of the last token, and whether a comma comes last but for line ends.
    previous: str = ""
    after_comma: bool = False
    spaced: bool = False
    broken: bool = False

    def read_to(self, closer: str) -> None:
        angles = 0
        for token in self.tokens:
            kind = token.type
            if kind == closer:
                break
            angles += (kind == "LESSTHAN") - (kind == "MORETHAN")
            if kind == "_NL":
                self.line_end(str(token))
            elif kind == "COMMA" and not angles:
                self.end_row()
                self.after_comma = True
            elif kind == "DOC":
                self.pieces.append(token.rstrip())
                self.end_row()
            else:
                if self.pieces and kind not in _NO_SPACE_BEFORE and self.previous not in _NO_SPACE_AFTER:
                    self.pieces.append(" ")
                self.pieces.append(self.piece(token))
                self.after_comma = False
            self.previous = kind
        if self.pieces:
            self.end_row()

    def piece(self, token: Token) -> Segment:
        if token.type in _CLOSERS:
            inner = _Body(self.source, self.tokens, str(token))
            inner.read_to(_CLOSERS[token.type])
            return inner.group()
        return _text_block(self.source, token) if token.type in ("TEXT", "RAW_TEXT") else str(token)

    def end_row(self, comment: str = "") -> None:
        self.rows.append(Row(tuple(self.pieces), comment, self.spaced))
        self.pieces.clear()
        self.spaced = False

    def line_end(self, text: str) -> None:
        """The end of a line with the comment before it, and the comments and blank lines below."""
        self.broken = True
        lines = [line.strip() for line in text.split("\n")[:-1]]
        if self.pieces:
            self.end_row(lines.pop(0))
        elif self.previous == "COMMA":
            self.rows[-1] = replace(self.rows[-1], comment=lines.pop(0))
        elif self.previous == "DOC":
            del lines[0]
        elif self.opener and not self.previous:
            self.comment = lines.pop(0)
        for line in lines:
            if line:
                self.rows.append(Row((), line, self.spaced))
            self.spaced = not line

    def group(self) -> Segment:
        """The brackets with all that was read."""
        flat = None if self.comment else _flat(self.opener, [row.flat for row in self.rows])
        if flat is not None and _is_solid(self.rows):
            return flat
        # A comma before the closing bracket says that the items are to stay on lines of their own.
        if self.broken and (self.opener == "{" or self.after_comma):
            flat = None
        return Group(self.opener, self.comment, tuple(self.rows), flat)


def _flat(opener: str, rows: list[str | None]) -> str | None:
    texts = [text for text in rows if text is not None]
    if len(texts) < len(rows):
        return None
    inner = ", ".join(texts)
    if opener == "{":
        inner = f" {inner} " if inner else " "
    return f"{opener}{inner}{PAIRS[opener]}"


def _is_solid(rows: list[Row]) -> bool:
    """Whether nothing is won by breaking a group.  That is so for a single range, and must be:
    where it bounds a type the grammar has no room for line ends."""
    if not rows:
        return True
    first = rows[0].pieces[0]
    return len(rows) == 1 and isinstance(first, str) and first.strip("0123456789_") == ".."


def _text_block(source: Source, token: Token) -> TextBlock:
    start, end = token.start_pos or 0, token.end_pos or 0
    text = source.text
    first = text.index("\n", start) + 1
    last = max(first, text.rfind("\n", first, end) + 1)
    lines = [line.removesuffix("\r") for line in text[first:last].split("\n")[:-1]]
    margins = [line[: len(line) - len(line.lstrip(" \t\f"))] for line in lines if line.strip()]
    margins.append(text[last : end - 3])
    least, most = min(margins), max(margins)
    margin = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))
    quotes = 'r"""' if token.type == "RAW_TEXT" else '"""'
    return TextBlock(quotes, tuple(line[margin:] if line.strip() else "" for line in lines))
