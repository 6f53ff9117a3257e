"""Lines of a recipe with what is marked in them underlined, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from synth.base.diagnostics.source import Source, Span
from synth.base.display import char_width, is_right_to_left, text_width, visible, visible_at

_CODES = {"error": "1;31", "warning": "1;33", "frame": "34", "strong": "1", "secondary": "36"}
_TAB = 4
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Paint:
    color: bool

    def __call__(self, text: str, tone: str) -> str:
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if self.color and text else text


@dataclass(frozen=True, slots=True)
class Mark:
    """A span to underline in the line where it starts: offsets, and the line's number."""

    source: Source
    line: int
    start: int
    end: int
    text: str
    primary: bool

    @classmethod
    def of(cls, span: Span, text: str, *, primary: bool) -> Mark:
        line, _ = span.source.position(span.start)
        return cls(span.source, line, span.start, span.end, text, primary)


@dataclass(frozen=True, slots=True)
class _Underline:
    """A mark on the line as shown: columns [start, end) from 0."""

    start: int
    end: int
    text: str
    primary: bool

    @property
    def sign(self) -> str:
        return "^" if self.primary else "-"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Draws quoted lines; `room` is how many columns there are for the text of one."""

    paint: Paint
    tone: str
    gutter: int
    room: int

    def lines(self, source: Source, marks: Sequence[Mark]) -> list[str]:
        """The marked lines of a source, with `...` where lines are left out between them.
        The marks are in the order of their places."""
        drawn: list[str] = []
        last = 0
        for number, group in groupby(marks, key=lambda mark: mark.line):
            if last and number == last + 2:
                start, end = _line_range(source, last + 1)
                cut, _ = self.window(source.text, start, end, start, start, [])
                drawn.append(self.row(str(last + 1), cut))
            elif last and number > last + 2:
                drawn.append(" " * (self.gutter + 1) + "...")
            last = number
            drawn += self.line(source, number, list(group))
        return drawn

    def line(self, source: Source, number: int, marks: list[Mark]) -> list[str]:
        """One line and what is marked in it.  Marks too far apart to be shown together are
        shown in several cuts of the line, that with the primary mark first."""
        start, end = _line_range(source, number)
        drawn: list[str] = []
        marks = sorted(marks, key=lambda mark: (not mark.primary, mark.start))
        while marks:
            first = marks[0]
            cut, placed = self.window(source.text, start, end, first.start, first.end, marks)
            drawn.append(self.row(str(number), cut))
            here = [mark for mark in marks if id(mark) in placed]
            if is_right_to_left(cut):
                drawn += (self.row("", self.repeated(mark)) for mark in here)
            else:
                columns = (placed[id(mark)] for mark in here)
                underlines = [
                    _Underline(left, right, visible(mark.text), mark.primary)
                    for mark, (left, right) in zip(here, columns, strict=True)
                ]
                drawn += (self.row("", text) for text in self.underlined(underlines))
            marks = [mark for mark in marks if id(mark) not in placed]
        return drawn

    def command(self, command: str, word: str, label: str) -> list[str]:
        """The command line as it was typed, with one word underlined."""
        source = Source("command line", " ".join(command.splitlines()))
        at = source.text.rfind(word) if word else -1
        marks = [Mark(source, 1, at, at + len(word), label, True)] if at >= 0 else []
        first = max(at, 0)
        cut, placed = self.window(source.text, 0, len(source.text), first, first + len(word), marks)
        drawn = [self.row("", cut)]
        if is_right_to_left(cut):
            drawn += (self.row("", self.repeated(mark)) for mark in marks)
        else:
            underlines = [_Underline(*placed[id(mark)], visible(label), True) for mark in marks]
            drawn += (self.row("", text) for text in self.underlined(underlines))
        return drawn

    def row(self, number: str, text: str) -> str:
        left = self.paint(f"{number:>{self.gutter}} |", "frame")
        return f"{left} {text}" if text else left

    def repeated(self, mark: Mark) -> str:
        """For lines that a terminal reorders, under which carets would not line up."""
        marked = visible(mark.source.text[mark.start : min(mark.end, mark.start + self.room)].split("\n")[0])
        text = self.paint(f"« {marked} »", self.tone if mark.primary else "secondary")
        return f"{text} {visible(mark.text)}".rstrip()

    # Columns ------------------------------------------------------------------------------

    def window(
        self, text: str, start: int, end: int, first: int, last: int, marks: Sequence[Mark]
    ) -> tuple[str, dict[int, tuple[int, int]]]:
        """The line [start, end) as shown, cut around [first, last) when it is too long, and the
        columns of the marks (by id) whose starts are in what is shown."""
        last = min(max(last, first), end)
        # Only the neighbourhood is measured, so that a line of megabytes costs no more.
        low = max(start, first - 2 * self.room)
        high = min(end, min(last, first + 2 * self.room) + 2 * self.room)
        cells: list[str] = []
        columns = [0]
        for at in range(low, high):
            char = text[at]
            cell = " " * (_TAB - columns[-1] % _TAB) if char == "\t" else visible_at(text, at)
            cells.append(cell)
            columns.append(columns[-1] + (len(cell) if char == "\t" else text_width(cell)))
        left, right = 0, len(cells)
        if columns[-1] > self.room or low > start or high < end:
            left, right = self._cut(columns, first - low, min(last, high) - low)
        before = _CUT if low + left > start else ""
        after = _CUT if low + right < end else ""
        cut = before + "".join(cells[left:right]) + after
        shift = len(before) - columns[left]
        placed: dict[int, tuple[int, int]] = {}
        for mark in marks:
            inside = low + left <= mark.start < low + right
            if inside or (mark.start == low + right and (not after or mark.start == first)):
                stop = min(max(mark.end, mark.start), low + right)
                a, b = columns[mark.start - low] + shift, columns[stop - low] + shift
                placed[id(mark)] = (a, max(b, a + 1))
        return cut, placed

    def _cut(self, columns: list[int], first: int, last: int) -> tuple[int, int]:
        """The [left, right) of the cells to show: the marked ones in the middle, or from their
        start when they do not fit."""
        room = self.room - 2
        marked = min(columns[last] - columns[first], room)
        margin = (room - marked) // 2
        left = first
        while left > 0 and columns[first] - columns[left - 1] <= margin:
            left -= 1
        right = left
        while right < len(columns) - 1 and columns[right + 1] - columns[left] <= room:
            right += 1
        while left > 0 and columns[right] - columns[left - 1] <= room:
            left -= 1
        return left, right

    # Underlines ---------------------------------------------------------------------------

    def underlined(self, marks: list[_Underline]) -> list[str]:
        """The rows under a line: signs, then the words, each under its sign or beside the last."""
        rows: list[str] = []
        canvas = _Canvas(self)
        for mark in sorted(marks, key=lambda mark: mark.primary):
            canvas.put(mark.start, mark.sign * (mark.end - mark.start), mark.primary)
        waiting = [mark for mark in marks if mark.text]
        last = max(marks, key=lambda mark: (mark.end, mark.start), default=None)
        if len(waiting) == 1 and waiting[0] is last:
            canvas.put(last.end + 1, last.text, last.primary)
            waiting = []
        rows.append(canvas.row())
        while waiting:
            canvas = _Canvas(self)
            placed = self._next_row(waiting)
            waiting = [mark for mark in waiting if mark not in placed]
            for mark in waiting:
                canvas.put(mark.start, "|", mark.primary)
            for mark in placed:
                canvas.put(mark.start, mark.text, mark.primary)
            rows.append(canvas.row())
        return [row for row in rows if row]

    @staticmethod
    def _next_row(waiting: list[_Underline]) -> list[_Underline]:
        """Whose words go on the next row: from the right, those that reach no other sign; the
        primary mark's come last."""
        ordered = sorted(waiting, key=lambda mark: (mark.start, mark.primary), reverse=True)
        placed: list[_Underline] = []
        limit: int | None = None
        for mark in ordered:
            held = mark.primary and len(waiting) > 1
            if not held and (limit is None or mark.start + text_width(mark.text) < limit):
                placed.append(mark)
            limit = mark.start
        return placed or ordered[:1]


class _Canvas:
    """One row of cells, each with its tone."""

    def __init__(self, excerpt: Excerpt) -> None:
        self.excerpt = excerpt
        self.cells: dict[int, tuple[str, str]] = {}

    def put(self, column: int, text: str, primary: bool) -> None:
        tone = self.excerpt.tone if primary else "secondary"
        for char in text:
            width = char_width(char)
            if width == 0:
                before, _ = self.cells.get(column - 1, ("", tone))
                self.cells[column - 1] = (before + char, tone)
                continue
            self.cells[column] = (char, tone)
            if width == 2:
                self.cells[column + 1] = ("", tone)
            column += width

    def row(self) -> str:
        if not self.cells:
            return ""
        cells = (self.cells.get(column, (" ", "")) for column in range(max(self.cells) + 1))
        paint = self.excerpt.paint
        runs = groupby(cells, key=lambda cell: cell[1])
        texts = ((tone, "".join(cell for cell, _ in run)) for tone, run in runs)
        return "".join(paint(text, tone) if tone else text for tone, text in texts).rstrip()


def _line_range(source: Source, number: int) -> tuple[int, int]:
    start = source.line_starts[number - 1]
    end = source.text.find("\n", start)
    end = end if end >= 0 else len(source.text)
    return start, end - 1 if source.text.endswith("\r", start, end) else end
