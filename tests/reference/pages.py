"""The reference pages as test cases: the fenced blocks that recipes and their outcomes stand in.

    ```recipe                  an example; begins with `edition` or continues the page's preamble
    ```recipe preamble         put before the later examples of the page; compiled with each
    ```recipe file=lib/a.recipe    written beside the later examples of the same section
    ```recipe escaped          `<U+202E>` stands for a character and `<0xE9>` for a byte
    ```expect                  what is said about the example above; without it, nothing is
    ```plan                    facts of its plan (`tests.reference.facts`)
    ```row train               the rows that its first sample gives to an export, as JSON

Any block with `file=` is such a file, and other words than these begin none.

A line of `expect` is `--set name=value`, or a code with its place and words, of which all but the
code may be left out: `E302 @ "tempers" 12:10: the shares of ...`.  Lines count from the example's
own first line; a file's name before the quoted text says that the place is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.support import ROOT

MAIN = "example.recipe"
REFERENCE = ROOT / "synth" / "reference"
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)
_EXPECTED = re.compile(
    r"(?P<code>[EW]\d{3})"
    r'(?: @ (?:(?P<file>[^"\s]+) )?(?P<text>"(?:[^"\\]|\\.)*")(?: (?P<line>\d+):(?P<column>\d+))?)?'
    r"(?:: (?P<message>.+))?"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One diagnostic.  Without a text it may be anywhere; what else is None is not compared."""

    code: str
    file: str = MAIN
    text: str | None = None
    place: tuple[int, int] | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One recipe with what it is written beside and what is said to come of it.

    `shift` is the number of lines that stand before the example's own first one.  `says` tells
    whether there is an `expect` block; `line` is where the example stands in its page.
    """

    page: Path
    heading: str
    line: int
    text: str
    shift: int
    files: dict[str, str]
    overrides: dict[str, str] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REFERENCE)}:{self.line} {self.heading}"

    def write(self, folder: Path) -> Path:
        """Writes the files below a folder; returns the recipe's path."""
        for name, text in {**self.files, MAIN: self.text}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return folder / MAIN


def pages() -> list[Path]:
    """Chapters and codes, in the order of their names."""
    return sorted(REFERENCE.rglob("*.md"))


def examples(page: Path) -> Iterator[Example]:
    """The examples of a page, in order.  Raises ValueError for a block that says nothing known."""
    text = page.read_text("utf-8")
    prose = _FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    if "```" in prose:
        raise ValueError(f"{page.name}: a block is not closed")
    headings = [(heading.start(), heading[1]) for heading in _HEADING.finditer(prose)]
    preamble, section = "", ""
    files: dict[str, str] = {}
    current: Example | None = None
    for block in _FENCE.finditer(text):
        heading = next((title for at, title in reversed(headings) if at < block.start()), "")
        line = text.count("\n", 0, block.start()) + 1
        if heading != section:
            section, files = heading, {}
        word, *options = block["info"].split() or [""]
        body = _unescaped(block["body"]) if "escaped" in options else block["body"]
        file = next((o.removeprefix("file=") for o in options if o.startswith("file=")), None)
        if file is not None:
            files = {**files, file: body}
        elif word == "recipe" and "preamble" in options:
            preamble = body + "\n"
        elif word == "recipe":
            if current is not None:
                yield current
            before = "" if body.startswith("edition") else preamble
            current = Example(page, heading, line, before + body, before.count("\n"), files)
        elif word in ("expect", "plan", "row") and current is not None:
            _add(current, word, options, body, f"{page.name}:{line}")
        else:
            raise ValueError(f"{page.name}:{line}: `{block['info']}` begins no block that is known here")
    if current is not None:
        yield current


def _add(example: Example, word: str, options: list[str], body: str, where: str) -> None:
    if word == "row":
        example.rows.append((options[0], body))
        return
    for line in filter(None, map(str.strip, body.splitlines())):
        if line.startswith("--set "):
            name, _, value = line.removeprefix("--set ").partition("=")
            example.overrides[name] = value
        elif word == "plan":
            fact, equals, value = line.partition(" = ")
            if not equals:
                raise ValueError(f"{where}: `{line}` is no fact")
            example.facts.append((fact, value))
        else:
            example.expected.append(_expected(line, where))


def _expected(line: str, where: str) -> Expected:
    match = _EXPECTED.fullmatch(line)
    if match is None:
        raise ValueError(f"{where}: `{line}` expects nothing")
    return Expected(
        match["code"],
        match["file"] or MAIN,
        json.loads(match["text"]) if match["text"] else None,
        (int(match["line"]), int(match["column"])) if match["line"] else None,
        match["message"],
    )


def _unescaped(text: str) -> str:
    text = re.sub(r"<U\+([0-9A-F]{4,6})>", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"<0x([89A-F][0-9A-F])>", lambda match: chr(0xDC00 + int(match[1], 16)), text)
