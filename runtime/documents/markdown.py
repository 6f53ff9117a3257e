"""Markdown: headings and what stands between them, as it is written; front matter as metadata."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from synth.runtime.documents.document import Block, Document, Scalar

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_KEY = re.compile(r"([^\s:#\-\[\]{}&*!|>'\"%@`,][^:]{0,79}?)\s*:(?:\s+(.*))?")
_ITEM = re.compile(r"\s*-\s+(.*)")
_LONGEST_HEADING = 1000
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})")


def read_markdown(text: str, name: str) -> Document:
    """A document from Markdown.  A `title` in its front matter becomes the title."""
    metadata, text = front_matter(text)
    title = metadata.pop("title", "")
    return Document(name, tuple(_blocks(text)), str(title), metadata)


def front_matter(text: str) -> tuple[dict[str, Scalar], str]:
    """What `key: value` lines between two `---` at the start say, and the text after them.

    Lists are joined by commas; deeper structure is passed over.  Without such lines, or without
    the second `---`, all of it is text.
    """
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return {}, text
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), None)
    if end is None:
        return {}, text
    fields: dict[str, Scalar] = {}
    items: dict[str, list[str]] = {}
    key = None
    for line in lines[1:end]:
        if pair := _KEY.fullmatch(line.rstrip()):
            key = pair[1]
            if pair[2]:
                fields[key] = _value(pair[2])
        elif key is not None and key not in fields and (item := _ITEM.fullmatch(line)):
            items.setdefault(key, []).append(_unquoted(item[1].strip()))
        elif line.strip() and not line.startswith((" ", "\t", "#", "-")):
            return {}, text
    fields |= {key: ", ".join(values) for key, values in items.items()}
    return (fields, "\n".join(lines[end + 1 :])) if fields else ({}, text)


def _value(written: str) -> Scalar:
    """Only what reads back as it was written becomes a number, so that 007 stays a text."""
    if written.startswith("[") and written.endswith("]"):
        return ", ".join(_unquoted(part.strip()) for part in written[1:-1].split(",") if part.strip())
    if _INTEGER.fullmatch(written):
        return int(written)
    if written in ("true", "false"):
        return written == "true"
    return _unquoted(written)


def _unquoted(written: str) -> str:
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    return written


def _blocks(text: str) -> list[Block]:
    """Headings of the document itself; those inside of lists and quotations are text."""
    parser = _parser()
    lines = text.split("\n")
    blocks, done = [], 0
    for token, inline in pairwise(parser.parse(text)):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        first, after = token.map
        blocks.append(Block(0, "\n".join(lines[done:first])))
        blocks.append(Block(int(token.tag[1:]), _plain(inline.content)))
        done = after
    blocks.append(Block(0, "\n".join(lines[done:])))
    return [block for block in blocks if block.text.strip()]


def _plain(heading: str) -> str:
    """A heading's words without the marks for emphasis, links and code."""
    if len(heading) > _LONGEST_HEADING:
        # No heading, whatever it is marked as; to look for marks could take for ever.
        return " ".join(heading.split())
    (inline,) = _inline_parser().parseInline(heading)
    parts = [" " if "break" in child.type else child.content for child in inline.children or ()]
    # A heading of nothing but an image or a tag keeps what is written.
    return " ".join("".join(parts).split()) or " ".join(heading.split())


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    # What stands within paragraphs is not looked at, and hostile text could make that slow.
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@cache
def _inline_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")
