"""A text the parser can trust: every text closed, every bracket with its partner.

The parser then meets only faults that concern one statement.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import chain

from synth.base.diagnostics.diagnostic import Diagnostic, Fix, Label
from synth.base.diagnostics.source import Source, Span
from synth.dsl.recovery.brackets import MAX_DEPTH, OPENERS, PAIRS, Fault, pair
from synth.dsl.recovery.scan import Scan, scan

_MOST_LABELS = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the parser reads in place of a source.

    `text` ends with a line end.  It has characters that the source has not, at the offsets
    `inserted`; `origin` leads from its offsets back to the source's.  `damaged_texts` (offsets
    in `text`) are strings that stand for texts that were reported.  `repairs` (offsets in the
    source) lie in statements that were mended.  On `fault_lines` something was reported.
    """

    source: Source
    text: str
    inserted: tuple[int, ...]
    damaged_texts: frozenset[int]
    repairs: tuple[int, ...]
    fault_lines: frozenset[int]
    diagnostics: tuple[Diagnostic, ...]

    def origin(self, offset: int) -> int:
        if self.inserted:
            offset -= bisect_left(self.inserted, offset)
        return min(offset, len(self.source.text))

    def span(self, start: int, end: int) -> Span:
        """The source's span for [start, end) of `text`."""
        return Span(self.source, self.origin(start), self.origin(end))


def prepare(source: Source) -> Prepared:
    """Finds and mends what is wrong with the texts and the brackets of a source."""
    scanned = scan(source)
    faults = pair(scanned)
    diagnostics = list(scanned.diagnostics)
    diagnostics += _diagnostics(scanned, faults)
    text, inserted = _repair(scanned.text, faults)
    before = [at - count for count, at in enumerate(inserted)]
    shifted = frozenset(at + bisect_right(before, at) for at in scanned.damaged_texts)
    return Prepared(
        source,
        text,
        inserted,
        shifted,
        tuple(sorted(fault.fix_at if fault.kind == "unopened" else fault.at for fault in faults)),
        frozenset(_lines(source, diagnostics, faults)),
        tuple(diagnostics),
    )


def _lines(source: Source, diagnostics: list[Diagnostic], faults: list[Fault]) -> set[int]:
    starts = (item.primary.start for item in diagnostics if item.primary)
    repaired = (fault.fix_at for fault in faults if fault.fix_at >= 0)
    return {source.position(at)[0] for at in chain(starts, repaired)}


def _repair(text: str, faults: list[Fault]) -> tuple[str, tuple[int, ...]]:
    """The text with its brackets in pairs, and the offsets in it of what was inserted."""
    size = len(text)
    chars: list[tuple[int, int, str]] = []
    edits: list[tuple[int, int, str]] = []
    for fault in faults:
        if fault.kind == "unclosed":
            # Of several that end at one place the one opened last is closed first.
            chars.append((fault.fix_at, -fault.at, PAIRS[fault.char]))
        elif fault.kind == "quote":
            chars.append((fault.fix_at, -size - 1, fault.char))
        elif fault.kind == "unopened":
            chars.append((fault.fix_at, 1, OPENERS[fault.char]))
        elif fault.kind == "stray":
            edits.append((fault.at, fault.at + 1, " "))
        elif fault.kind == "crossed":
            edits.append((fault.fix_at, fault.fix_at + 1, PAIRS[fault.char]))
        else:
            rest = "".join(char if char == "\n" else " " for char in text[fault.at : fault.fix_at])
            edits.append((fault.at, fault.fix_at, rest))
    chars.sort()
    # Brackets that are missing at the end come after the last line, which may be a comment.
    text += "\n"
    ends = [char for at, _, char in chars if at >= size]
    edits += ((at, at, char) for at, _, char in chars if at < size)
    edits.sort(key=lambda edit: edit[:2])
    pieces: list[str] = []
    inserted: list[int] = []
    done = length = 0
    for start, end, replacement in edits:
        if start < done:
            continue
        pieces += (text[done:start], replacement)
        length += start - done
        if start == end:
            inserted.append(length)
        length += len(replacement)
        done = end
    pieces.append(text[done:])
    length += len(text) - done
    inserted += range(length, length + len(ends))
    return "".join(pieces) + "".join(ends) + "\n" * bool(ends), tuple(inserted)


def _diagnostics(scanned: Scan, faults: list[Fault]) -> list[Diagnostic]:
    """One for each line on which a bracket is at fault, and one for all that the file's end
    leaves open."""
    size = len(scanned.text)
    kept: list[Diagnostic] = []
    lines = {scanned.source.position(start)[0] for start, _ in scanned.open_strings}
    at_end = [
        fault for fault in faults if fault.kind == "unclosed" and fault.fix_at >= size and not fault.silent
    ]
    for fault in faults:
        line, _ = scanned.source.position(fault.at)
        if not fault.silent and line not in lines and fault not in at_end:
            kept.append(_diagnostic(scanned, fault))
            lines.add(line)
    if at_end and not scanned.swallowed_end:
        *outer, inner = at_end
        labels = (
            Label(Span(scanned.source, fault.at, fault.at + 1), "open as well")
            for fault in outer[-_MOST_LABELS:]
        )
        kept.append(replace(_diagnostic(scanned, inner), secondary=tuple(labels)))
    return kept


def _diagnostic(scanned: Scan, fault: Fault) -> Diagnostic:
    source = scanned.source
    at = Span(source, fault.at, fault.at + 1)
    if fault.kind == "deep":
        hint = "name the inner parts with `let` or `set`"
        return Diagnostic("E003", f"brackets stand more than {MAX_DEPTH} deep here", at, hint=hint)
    if fault.kind == "crossed":
        other = Span(source, fault.fix_at, fault.fix_at + 1)
        partner = PAIRS[fault.char]
        return Diagnostic(
            "E003",
            f"`{fault.char}` is closed by `{other.text}`",
            other,
            secondary=(Label(at, "opened here"),),
            hint=f"close it with `{partner}`",
            fix=Fix(other, partner),
        )
    if fault.kind == "unclosed":
        line, _ = source.position(fault.at)
        last, _ = source.position(fault.fix_at)
        partner = PAIRS[fault.char]
        if fault.fix_at >= len(scanned.text):
            where = " before the end of the file"
        elif last == line:
            where = " on the same line" if fault.char != "{" else f" before line {line + 1}"
        else:
            where = f" after line {last}"
        return Diagnostic(
            "E003",
            f"`{fault.char}` is never closed",
            at,
            "opened here",
            hint=f"close it with `{partner}`{where}",
        )
    if fault.kind == "unopened":
        line, _ = source.position(fault.fix_at)
        hint = f"open it with `{OPENERS[fault.char]}` at the end of line {line}"
    else:
        hint = "remove it, or open what it closes"
    return Diagnostic("E003", f"`{fault.char}` closes nothing", at, hint=hint)
