"""The first look at a recipe: texts, comments and brackets, before any grammar.

What is wrong here would mislead the parser about everything that follows, so it is
reported and made harmless at once: a text that is never closed is closed, and a character
that turns the direction of the line is blanked.  Offsets do not change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from synth.base.diagnostics.diagnostic import Diagnostic, Fix, Label
from synth.base.diagnostics.source import Source, Span
from synth.base.display import BIDI_CONTROLS, code_point

QUOTES = '"""'

_ITEMS = (
    r"(?P<comment>#[^\n]*)",
    r'(?P<block>(?:(?<![A-Za-z0-9_])r)?""")',
    r'(?P<string>"(?:[^"\\\n]|\\.)*")',
    # A brace that ends the line opens a body, whatever quote is missing before it.
    r'(?P<open>"(?:[^"\\\n{]|\\.?|\{(?![ \t\f]*(?:\n|\Z)))*)',
    r"(?P<bracket>[{}()\[\]])",
    rf"(?P<bidi>[{BIDI_CONTROLS}]+)",
)
_ITEM = re.compile("|".join(_ITEMS))
_CLOSED_BLOCK = r'(?P<block>(?:(?<![A-Za-z0-9_])r)?"""[^\n]*\n(?:[^\n]*\n)*?[ \t\f]*""")'
_CLOSED_ITEM = re.compile("|".join((_ITEMS[0], _CLOSED_BLOCK, *_ITEMS[2:5])))
_NOT_LINE_END = re.compile(r"[^\n]")
_UNESCAPED_QUOTE = re.compile(r'(?<!\\)"')
# What stands before the first quote of a text: a word of the language, a sign that a value follows.
_OPENS_TEXT = re.compile(r"(?:[=(\[,:]|\b(?:from|to|of|in))[ \t]*\Z|\A[ \t]*\Z|[{}]")
# A text is looked for the end of on so many lines.
_MOST_LINES = 12
_REST_IS_BLANK = re.compile(r"[ \t\f]*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Scan:
    """What the first look found.

    `text` is as long as the source's.  `brackets` are in order; `open_strings` are the
    [start, end) of one-line texts that are never closed, and blank but for their quote;
    `damaged_texts` are the places of strings that stand for texts that were reported;
    `swallowed_end` says that one of these texts took the rest of the file.
    """

    source: Source
    text: str
    brackets: list[tuple[int, str]]
    open_strings: list[tuple[int, int]]
    damaged_texts: frozenset[int]
    swallowed_end: bool
    diagnostics: list[Diagnostic]


def scan(source: Source) -> Scan:
    """Finds texts, comments and brackets in one pass; see the module."""
    scanner = _Scanner(source)
    scanner.run()
    return Scan(
        source,
        scanner.edited(),
        scanner.brackets,
        scanner.open_strings,
        frozenset(scanner.damaged),
        scanner.swallowed_end,
        scanner.diagnostics,
    )


def skeleton(text: str) -> str:
    """A text of the same length in which only code is left: texts become `x`, also their
    line ends, and comments become spaces.  Blocks must be closed, as `scan` leaves them."""

    def neutral(match: re.Match[str]) -> str:
        if match.lastgroup == "bracket":
            return match[0]
        return (" " if match.lastgroup == "comment" else "x") * len(match[0])

    return _CLOSED_ITEM.sub(neutral, text)


@dataclass(slots=True)
class _Scanner:
    source: Source
    text: str = ""
    brackets: list[tuple[int, str]] = field(default_factory=list)
    open_strings: list[tuple[int, int]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    # (start, end, what stands there instead), not overlapping and in order
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    # Nothing above this offset is looked at again, which keeps the whole scan linear.
    floor: int = 0
    swallowed_end: bool = False

    def run(self) -> None:
        self.text = self.source.text.replace("\r\n", " \n")
        position = 0
        while match := _ITEM.search(self.text, position):
            start, position = match.span()
            if match.lastgroup == "bracket":
                self.brackets.append((start, match[0]))
            elif match.lastgroup == "block":
                position = self.floor = self.block(start, position)
            elif match.lastgroup == "open":
                position = self.open_string(start, position)
            elif match.lastgroup == "bidi":
                self.bidi(start, position)

    def edited(self) -> str:
        pieces: list[str] = []
        done = 0
        for start, end, replacement in self.edits:
            pieces += (self.text[done:start], replacement)
            done = end
        pieces.append(self.text[done:])
        return "".join(pieces)

    def blank(self, start: int, end: int, replacement: str = "") -> None:
        """Puts the replacement at `start` and spaces after it, up to `end`; line ends stay."""
        rest = _NOT_LINE_END.sub(" ", self.text[start + len(replacement) : end])
        self.edits.append((start, end, replacement + rest))

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    # Blocks --------------------------------------------------------------------------

    def block(self, start: int, opened: int) -> int:
        """Looks at the block whose first quotes are [start, opened); returns where to go on."""
        if not _REST_IS_BLANK.match(self.text, opened):
            return self.misplaced(start, opened)
        line_end = _line_end(self.text, opened)
        close = self.text.find(QUOTES, line_end)
        if close >= 0 and not self.text[_line_start(self.text, close) : close].strip():
            return close + len(QUOTES)
        header = self.missing_opener(start)
        if header is not None:
            return self.never_opened(header, start, opened)
        end = self.dedent(start, line_end)
        inside = 0 <= close < end
        self.diagnostics.append(
            Diagnostic(
                "E001",
                "this text is never closed",
                self.span(start, opened),
                "opened here",
                secondary=(Label(self.span(close, close + 3), "not on a line of its own"),) if inside else (),
                hint='close it with `"""` on a line of its own',
            )
        )
        self.damage(start, end)
        return end

    def misplaced(self, start: int, opened: int) -> int:
        """A block whose text begins on the line of its first quotes."""
        close = self.text.find(QUOTES, opened)
        one_line = close >= 0 and "\n" not in self.text[opened:close]
        if one_line:
            end = close + len(QUOTES)
        else:
            end = self.dedent(start, _line_end(self.text, opened))
            if 0 <= close < end:
                end = close + len(QUOTES)
        inner = self.text[opened:close]
        fixable = one_line and self.text[start] == '"' and '"' not in inner and "\\" not in inner
        self.diagnostics.append(
            Diagnostic(
                "E001",
                'the text of a block begins on the line after `"""`',
                self.span(start, opened),
                hint='a text of one line stands between single `"`' if one_line else "move it down a line",
                fix=Fix(self.span(start, end), f'"{inner}"') if fixable else None,
            )
        )
        self.damage(start, end)
        return end

    def damage(self, start: int, end: int) -> None:
        self.damaged.append(start)
        self.swallowed_end = end == len(self.text)
        self.blank(start, end, '""')

    def missing_opener(self, start: int) -> int | None:
        """Where the line above a text ends, when the quotes at `start` end that text.

        That is so when they stand alone below lines that are as deep as they are or blank,
        down from a line that is not, or that ends another text.
        """
        line_start = _line_start(self.text, start)
        if self.text[line_start:start].strip():
            return None
        depth = _indent(self.text[line_start:start])
        content = False
        while line_start > self.floor:
            above = _line_start(self.text, line_start - 1)
            line = self.text[above : line_start - 1].rstrip()
            if line and (_indent(line) < depth or above < self.floor):
                return above + len(line) if content else None
            content = content or bool(line)
            line_start = above
        return None

    def never_opened(self, header: int, start: int, end: int) -> int:
        """Last quotes with a text above them that nothing opened, neither where the line above
        ends, at `header`, nor below."""
        # The text was scanned as if it were code.
        while self.diagnostics and (at := self.diagnostics[-1].primary) and at.start >= header:
            self.diagnostics.pop()
        while self.brackets and self.brackets[-1][0] >= header:
            self.brackets.pop()
        while self.open_strings and self.open_strings[-1][0] >= header:
            self.open_strings.pop()
        while self.damaged and self.damaged[-1] >= header:
            self.damaged.pop()
        while self.edits and self.edits[-1][0] >= header:
            self.edits.pop()
        line, _ = self.source.position(header)
        wants_value = self.text.endswith("=", 0, header)
        self.diagnostics.append(
            Diagnostic(
                "E001",
                "this text is never opened",
                self.span(start, end),
                "closed here",
                hint=f'open it with `"""` at the end of line {line}'
                if wants_value
                else f'open it with a line such as `prompt = """` after line {line}',
            )
        )
        if wants_value:
            # There is room for three characters: a line end and the quotes that close the text.
            self.damaged.append(header)
            self.blank(header, end, '""\n')
        else:
            self.blank(header, end)
        return end

    def dedent(self, start: int, line_end: int) -> int:
        """The start of the first line below `line_end` that is not blank and is indented no
        deeper than the line of `start`, or the end of the text."""
        depth = _indent(self.text[_line_start(self.text, start) : line_end])
        at = line_end
        while at < len(self.text):
            line_start = at + 1
            at = _line_end(self.text, line_start)
            line = self.text[line_start:at].rstrip()
            if line and _indent(line) <= depth:
                return line_start
        return len(self.text)

    # One line ------------------------------------------------------------------------

    def open_string(self, start: int, end: int) -> int:
        """Reports a text that its line does not close; returns where to go on."""
        close = self.closed_below(end)
        if close is not None:
            self.damaged.append(start)
            self.diagnostics.append(
                Diagnostic(
                    "E001",
                    'a text between single `"` ends on its line',
                    self.span(start, start + 1),
                    "opened here",
                    secondary=(Label(self.span(close, close + 1), "closed here"),),
                    hint='a text of several lines stands between `"""`, each on a line of its own',
                )
            )
            self.blank(start, close + 1, '""')
            return close + 1
        end = start + len(self.text[start:end].rstrip())
        self.open_strings.append((start, end))
        self.damaged.append(start)
        self.diagnostics.append(
            Diagnostic(
                "E001",
                "this text is never closed",
                self.span(start, start + 1),
                "opened here",
                hint='close it with `"` on the same line',
            )
        )
        self.blank(start, end, '"')
        return end

    def closed_below(self, end: int) -> int | None:
        """The quote that ends, on one of the next lines, a text that is left open at `end`: the one
        quote of its line, and not where a text would begin."""
        for _ in range(_MOST_LINES):
            if end >= len(self.text) or self.text[end] != "\n":
                return None
            line_start, end = end + 1, _line_end(self.text, end + 1)
            line = self.text[line_start:end]
            quotes = len(_UNESCAPED_QUOTE.findall(line))
            if quotes > 1 or "#" in line:
                return None
            if quotes:
                at = line_start + line.index('"')
                return None if _OPENS_TEXT.search(self.text[line_start:at]) else at
        return None

    def bidi(self, start: int, end: int) -> None:
        at = self.span(start, end)
        self.diagnostics.append(
            Diagnostic(
                "E006",
                f"a bidirectional control character ({code_point(self.text[start])}) stands outside text",
                at,
                hint="it makes the line look other than it is read",
                fix=Fix(at, ""),
            )
        )
        self.blank(start, end)


def _indent(line: str) -> int:
    """Columns before the first other character; tab stops are eight apart."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs())


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)
