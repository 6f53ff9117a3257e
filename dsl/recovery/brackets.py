"""Brackets that do not pair up: which one is at fault, and where its partner belongs.

Counting finds the fault for parentheses and for braces on one line.  For other braces it
only tells that there is one: leave out the `}` of a turn, and it is the file that seems
to end too early.  So when the braces do not add up they are paired once more by
indentation, as a reader would do it, and that reading counts unless it finds more faults.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import merge
from typing import Literal

from synth.dsl.recovery.scan import Scan, skeleton

MAX_DEPTH = 64
PAIRS = {"{": "}", "(": ")", "[": "]"}
OPENERS = {close: open_ for open_, close in PAIRS.items()}
_STRING = '"'


@dataclass(frozen=True, slots=True)
class Fault:
    """One bracket, or the quote of a one-line text, without its partner.

    `at` is the bracket's offset and `char` the bracket.  `fix_at` is where the missing
    partner belongs; for `crossed` it is the bracket of another kind that closes this one,
    and for `deep` the end of what is nested too deep.  A fault that is `silent` was
    reported already, or follows from one that was.
    """

    kind: Literal["unclosed", "unopened", "stray", "crossed", "deep", "quote"]
    at: int
    char: str
    fix_at: int = -1
    silent: bool = False


def pair(scan: Scan) -> list[Fault]:
    """The faults of a text's brackets, by offset.  No two are about the same bracket."""
    counted = _Count(scan)
    counted.run()
    faults = counted.faults
    if any(fault.char in "{}" and not fault.silent and fault.kind != "deep" for fault in faults):
        braces = [fault for fault in faults if fault.char in "{}"]
        others = [fault for fault in faults if fault.char not in "{}"]
        settled = {fault.at for fault in others} | {
            fault.fix_at for fault in others if fault.kind == "crossed"
        }
        read = _by_indentation(scan, settled)
        if not any(fault.kind == "deep" for fault in faults) and len(read) <= len(braces):
            faults = others + read
    if not faults:
        return faults
    lines = _Lines(scan.text)
    placed = [lines.place(fault) if fault.char in "()[]" else fault for fault in faults]
    return sorted(placed, key=lambda fault: fault.at)


@dataclass(slots=True)
class _Count:
    """Pairs brackets by counting."""

    scan: Scan
    stack: list[tuple[int, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def run(self) -> None:
        strings = [(start, _STRING) for start, _ in self.scan.open_strings]
        ends = dict(self.scan.open_strings)
        deep: Fault | None = None
        depth = 0
        for at, char in merge(self.scan.brackets, strings) if strings else self.scan.brackets:
            if depth:
                depth += char in PAIRS
                depth -= char in OPENERS
                if deep and not depth:
                    self.faults.append(Fault("deep", deep.at, deep.char, at + 1))
            elif char == _STRING:
                self.string(at, ends[at])
            elif char in PAIRS and len(self.stack) == MAX_DEPTH:
                deep = Fault("deep", at, char)
                depth = 1
            elif char in PAIRS:
                self.stack.append((at, char))
            else:
                self.close(at, char)
        end = len(self.scan.text)
        if depth and deep:
            self.faults.append(Fault("deep", deep.at, deep.char, end))
        while self.stack:
            self.unclosed(end, silent=depth > 0)

    def close(self, at: int, char: str) -> None:
        wanted = OPENERS[char]
        if self.stack and self.stack[-1][1] == wanted:
            self.stack.pop()
            return
        # A brace ends what is open inside it; another bracket reaches no further than its brace.
        for height in range(len(self.stack) - 1, -1, -1):
            if self.stack[height][1] == wanted:
                while len(self.stack) > height + 1:
                    self.unclosed(at)
                self.stack.pop()
                return
            if self.stack[height][1] == "{":
                break
        if self.stack and char != "}" and self.stack[-1][1] != "{":
            opened, other = self.stack.pop()
            self.faults.append(Fault("crossed", opened, other, at))
        else:
            self.faults.append(Fault("stray", at, char))

    def string(self, start: int, end: int) -> None:
        """A text that is never closed has swallowed what was to close the brackets of its line."""
        self.faults.append(Fault("quote", start, _STRING, end, silent=True))
        position = self.scan.source.position
        line, _ = position(start)
        while self.stack and position(self.stack[-1][0])[0] == line:
            at, char = self.stack[-1]
            if PAIRS[char] not in self.scan.source.text[start:end]:
                break
            self.stack.pop()
            self.faults.append(Fault("unclosed", at, char, end, silent=True))

    def unclosed(self, at: int, silent: bool = False) -> None:
        opened, char = self.stack.pop()
        self.faults.append(Fault("unclosed", opened, char, at, silent))


# By indentation ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with code on it: the offset of its first character, and of the end of its code."""

    start: int
    end: int
    indent: int


class _Lines:
    """The lines of a text that hold code.  A line in which a text block stands ends where
    the block's last line does."""

    def __init__(self, text: str) -> None:
        self.code = skeleton(text)
        self.lines: list[_Line] = []
        offset = 0
        for line in self.code.split("\n"):
            body = line.strip()
            if body:
                before = line[: len(line) - len(line.lstrip())]
                start = offset + len(before)
                self.lines.append(_Line(start, start + len(body), len(before.expandtabs())))
            offset += len(line) + 1
        self._starts = [line.start for line in self.lines]

    def index(self, at: int) -> int:
        """The index of the line that holds the code at an offset, or the last one before it."""
        return bisect_right(self._starts, at) - 1

    def place(self, fault: Fault) -> Fault:
        """Where the partner of a parenthesis belongs: an open one ends with its line, or goes on
        while a line ends in a comma; one that begins a line closes what the line above that
        stands as deep was to open."""
        if fault.kind == "stray":
            return _unopened(self, fault.at, fault.char)
        if fault.kind != "unclosed" or fault.silent:
            return fault
        index = self.index(fault.at)
        depth = self.lines[index].indent
        end = self._end(self.lines[index], fault)
        while self.code[end - 1] in "([," and index + 1 < len(self.lines):
            index += 1
            line = self.lines[index]
            ends = line.indent < depth or (line.indent == depth and self.code[line.start] not in ")]")
            if ends or line.start >= fault.fix_at:
                break
            end = self._end(line, fault)
        return Fault(fault.kind, fault.at, fault.char, end)

    def _end(self, line: _Line, fault: Fault) -> int:
        end = min(line.end, fault.fix_at)
        if self.code[end - 1] == "{" and end - 1 > fault.at:
            end -= 1
        return fault.at + len(self.code[fault.at : end].rstrip()) if end > fault.at else fault.at + 1


def _by_indentation(scan: Scan, settled: set[int]) -> list[Fault]:
    """The braces at fault when each line that is no deeper than the one that opened a block ends
    it.  The parentheses that are not `settled` pair up; lines inside them tell nothing."""
    lines = _Lines(scan.text)
    faults: list[Fault] = []
    stack: list[tuple[int, int]] = []
    strays: set[int] = set()
    parentheses = 0
    index = -1
    events = merge(
        ((line.start, "", number) for number, line in enumerate(lines.lines)),
        ((at, char, -1) for at, char in scan.brackets if at not in settled),
    )
    for at, char, number in events:
        if not char:
            index = number
            line = lines.lines[index]
            if parentheses or not index:
                continue
            closes = lines.code[at] == "}"
            while stack and _depth(lines, stack[-1]) >= line.indent + closes:
                opened, _ = stack.pop()
                faults.append(Fault("unclosed", opened, "{", lines.lines[index - 1].end))
            if closes and not (stack and _depth(lines, stack[-1]) == line.indent):
                strays.add(at)
                faults.append(_unopened(lines, at, "}"))
        elif char == "{":
            stack.append((at, index))
        elif char == "}":
            if at in strays:
                continue
            # At the end of a deeper line a brace closes what was opened on that line.
            if stack and (stack[-1][1] == index or lines.lines[index].indent <= _depth(lines, stack[-1])):
                stack.pop()
            else:
                faults.append(Fault("stray", at, char))
        else:
            parentheses += 1 if char in PAIRS else -1
    faults += (Fault("unclosed", opened, "{", len(scan.text)) for opened, _ in stack)
    return faults


def _depth(lines: _Lines, opened: tuple[int, int]) -> int:
    return lines.lines[opened[1]].indent


def _unopened(lines: _Lines, at: int, char: str) -> Fault:
    """A bracket that closes nothing.  When it begins a line, then the line above that stands as
    deep, and has deeper ones below it, was perhaps to open it."""
    index = lines.index(at)
    closing = lines.lines[index]
    above = index - 1
    while above >= 0 and lines.lines[above].indent > closing.indent:
        above -= 1
    header = lines.lines[above]
    last = lines.code[header.end - 1]
    fits = last == "=" if char == "]" else last.isalnum() or last == "_" or (char == "}" and last in ">)]?%")
    if 0 <= above < index - 1 and header.indent == closing.indent and fits and closing.start == at:
        return Fault("unopened", at, char, header.end)
    return Fault("stray", at, char)
