"""Words of people and services inside a dataset's card: text there, and nothing that loads or runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from synth.base.display import escaped, escaped_block

# What is taken as a whole: an escaped character, a code span, backticks that close nowhere.
_PIECES = re.compile(r"\\[!-/:-@\[-`{-~]|(?P<ticks>(?<!`)(`+)(?!`))(?:.*?[^`])??\2(?!`)|(?P<open>`+)")
_ACTIVE = (
    # HTML and links in angle brackets; an ampersand that would be a character.
    (re.compile(r"<(?=[A-Za-z/!?])"), r"\\<"),
    # An image is fetched from wherever it is, by whoever looks at the card.
    (re.compile(r"!(?=\[)"), r"\\!"),
    # A link may lead to a page, and to nothing that runs; what it is called stays.
    (re.compile(r"\](?=\()(?!\(https?://[^\s()<>]*\))"), r"\\]"),
    (re.compile(r"\](?=\[|:)"), r"\\]"),
    (re.compile(r"\|"), r"\\|"),
)
# A line that is a rule, an underlining, or the end of front matter.
_RULE = re.compile(r" {0,3}(?=([-=*_])[ \t]*(?:\1[ \t]*)*$)")
_FENCE = re.compile(r"(?P<marks>`{3,})[^`]*$|(?P<tildes>~{3,}).*$")


def inert(text: str, *, cell: bool = False) -> str:
    """A line, or the cell of a table, as Markdown that shows its words: code spans, emphasis and links
    to pages stay."""
    parts, at = [], 0
    for piece in _PIECES.finditer(text):
        parts.append(_without_acts(text[at : piece.start()]))
        whole = piece[0].replace("|", "\\|") if cell else piece[0]
        parts.append("\\`" * len(piece["open"]) if piece["open"] else whole)
        at = piece.end()
    return "".join([*parts, _without_acts(text[at:])])


def prose(text: str) -> str:
    """Paragraphs as Markdown, lists and blocks of code among them; a block that is not closed is."""
    lines, fence = [], ""
    for line in escaped_block(text).split("\n"):
        if fence:
            end = line.rstrip()
            if len(end) >= len(fence) and set(end) == {fence[0]}:
                fence = ""
            lines.append(line)
        elif opened := _FENCE.match(line):
            fence = opened["marks"] or opened["tildes"]
            lines.append(line)
        elif rule := _RULE.match(line):
            lines.append(f"{rule[0]}\\{line[rule.end() :]}")
        else:
            lines.append(inert(line))
    return "\n".join([*lines, fence] if fence else lines)


def _without_acts(text: str) -> str:
    for pattern, shown_as in _ACTIVE:
        text = pattern.sub(shown_as, text)
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, and a blank line after it."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell(str(value)) for value in row)} |"
    yield ""


def cell(text: str) -> str:
    """A text as the cell of a table."""
    return inert(" ".join(escaped(text).split()), cell=True)
