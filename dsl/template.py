"""The inside of texts: indentation, escapes, and where the references stand.

A block's text begins on the line after its quotes; the indentation that its lines and its
closing quotes have in common is removed, and so is the last line end.  Nothing else in a
block is changed.  Escapes exist in one-line texts only; references in all but `r\"\"\"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from synth.base.diagnostics.diagnostic import Diagnostic, Fix
from synth.base.diagnostics.source import Source, Span
from synth.base.display import quoted
from synth.dsl.syntax import Interpolation

LONGEST_REFERENCE = 1_000
HINT_LITERAL = 'braces are literal in an `r"""` block'

# Three braces are a literal one before a reference.
_OPEN = re.compile(r"\{\{(?!\{)")
_INNER = re.compile(
    rf'\{{\{{(?P<inner>(?:[^"}}\n]|\}}(?!\}})|"(?:[^"\\\n]|\\.)*"){{0,{LONGEST_REFERENCE}}})\}}\}}'
)
_INNER_AT_LEAST = re.compile(rf"\{{\{{(?P<inner>[^\n]{{0,{LONGEST_REFERENCE}}}?)\}}\}}")
_ESCAPE = re.compile(r"\\(?:u\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<char>.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Template:
    """Reads the texts of one source.  `reference` parses what stands between [start, end) of
    the source into an interpolation; the span it is given covers the braces."""

    source: Source
    report: Callable[[Diagnostic], None]
    reference: Callable[[int, int, Span], Interpolation]

    def string(self, start: int, end: int, *, references: bool) -> tuple[str | Interpolation, ...]:
        """The parts of the one-line text whose quotes are the first and last of [start, end)."""
        return _joined(self.pieces(start + 1, end - 1, escapes=True, references=references))

    def block(self, start: int, end: int, *, references: bool) -> tuple[str | Interpolation, ...]:
        """The parts of the block that fills [start, end), quotes included."""
        text = self.source.text
        first = text.index("\n", start) + 1
        last = max(text.rfind("\n", first, end) + 1, first)
        lines = _lines(text, first, last)
        margins = [text[at : at + _margin(text[at:stop])] for at, stop in lines if text[at:stop].strip()]
        margins.append(text[last : end - 3])
        margin = _common(margins)

        def parts() -> Iterator[str | Interpolation]:
            for number, (at, stop) in enumerate(lines):
                if number:
                    yield "\n"
                if text[at:stop].strip():
                    yield from self.pieces(at + margin, stop, escapes=False, references=references)

        return _joined(parts())

    def pieces(
        self, start: int, end: int, *, escapes: bool, references: bool
    ) -> Iterator[str | Interpolation]:
        """The text and the references of one line."""
        text = self.source.text
        literal = self.unescaped if escapes else self.verbatim
        while references and (opened := _OPEN.search(text, start, end)):
            at = opened.start()
            match = _INNER.match(text, at, end) or _INNER_AT_LEAST.match(text, at, end)
            if match is None:
                self.never_closed(at, escapes)
                break
            yield literal(start, at)
            start = match.end()
            inner, _ = match.span("inner")
            yield self.reference(inner, match.end("inner"), Span(self.source, at, start))
        yield literal(start, end)

    def never_closed(self, at: int, one_line: bool) -> None:
        hint = f"close it with `}}}}` on the same line; {HINT_LITERAL}"
        if one_line:
            hint += ", and so are quotes inside `{{ }}` in any block"
        self.report(Diagnostic("E005", "`{{` is never closed", Span(self.source, at, at + 2), hint=hint))

    def verbatim(self, start: int, end: int) -> str:
        return self.source.text[start:end]

    def unescaped(self, start: int, end: int) -> str:
        text = self.source.text[start:end]
        if "\\" not in text:
            return text

        def resolve(match: re.Match[str]) -> str:
            code = int(match["code"], 16) if match["code"] else -1
            if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
            if match["char"] in _ESCAPES:
                return _ESCAPES[match["char"]]
            at = Span(self.source, start + match.start(), start + match.end())
            if match["code"]:
                hint = "a character's number is at most `10FFFF` and not from `D800` to `DFFF`"
                self.report(Diagnostic("E009", f"{quoted(at.text)} is not a character", at, hint=hint))
            else:
                hint = r"the escapes are `\n`, `\t`, `\"`, `\\` and `\u{...}`"
                fix = Fix(at, "\\" + at.text)
                self.report(Diagnostic("E009", f"{quoted(at.text)} is not an escape", at, hint=hint, fix=fix))
            return "\ufffd"

        return _ESCAPE.sub(resolve, text)


def _lines(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """The [start, end) of each line between two line starts, without line ends."""
    lines = []
    while first < last:
        end = text.index("\n", first)
        lines.append((first, end - 1 if text[first:end].endswith("\r") else end))
        first = end + 1
    return lines


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" \t\f"))


def _common(margins: list[str]) -> int:
    """The length of what all begin with; what the first and the last in order share, all do."""
    low, high = min(margins), max(margins)
    pairs = zip(low, high, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(low), len(high)))


def _joined(parts: Iterator[str | Interpolation]) -> tuple[str | Interpolation, ...]:
    joined: list[str | Interpolation] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if text := "".join(texts):
            joined.append(text)
        texts.clear()
        joined.append(part)
    if text := "".join(texts):
        joined.append(text)
    return tuple(joined)
