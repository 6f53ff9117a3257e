"""HTML: headings and text in document order, without scripts, navigation and the like."""

from __future__ import annotations

import re
from typing import Any

from synth.base.extras import install
from synth.runtime.documents.decode import clean, decode
from synth.runtime.documents.document import Block, Document, Scalar
from synth.runtime.documents.faults import Unreadable

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_DROPPED = ("script", "style", "noscript", "template", "svg", "nav", "footer", "aside", "iframe")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# Of a cell or a list's item only the line ends; other blocks stand apart.
_LINES = frozenset(("br", "li", "tr", "dt", "dd", "option", "div"))
_CELLS = frozenset(("td", "th"))
_WIDTHS = ("", " ", "\n", "\n\n")
_PARAGRAPHS = frozenset(
    (
        *("p", "section", "article", "main", "header", "ul", "ol", "dl", "table", "blockquote", "pre"),
        *("figure", "figcaption", "form", "fieldset", "details", "summary", "hr", "address", "caption"),
    )
)


def read_html(data: bytes, name: str) -> Document:
    """A document from HTML.  Its `title` is the title, named `meta` content its metadata.

    Raises Unreadable when the parser is not installed, or the bytes are no text.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise Unreadable(
            "is HTML, which needs `selectolax`, and that is not installed",
            install("documents"),
        ) from None
    declared = _CHARSET.search(data[:4096])
    text = decode(data, declared[1].decode("ascii") if declared else None)
    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    metadata: dict[str, Scalar] = {}
    for node in tree.css("meta[name][content]"):
        key, value = node.attributes.get("name"), node.attributes.get("content")
        if key in ("author", "description", "keywords", "date") and value:
            metadata[key] = " ".join(clean(value).split())
    heading = " ".join(clean(title.text()).split()) if title is not None else ""
    return Document(name, tuple(_blocks(tree.body)), heading, metadata)


def _blocks(body: Any) -> list[Block]:
    writer = _Writer()
    # Not by recursion: pages nest deeper than Python calls.
    open_nodes: list[Any] = []
    node = body.first_child if body is not None else None
    while node is not None or open_nodes:
        if node is None:
            node = open_nodes.pop()
            writer.close(node.tag)
            node = node.next
            continue
        if node.tag == "-text":
            writer.text(node.text_content or "")
        elif node.first_child is not None and node.tag not in _DROPPED:
            writer.open(node.tag)
            open_nodes.append(node)
            node = node.first_child
            continue
        elif not node.tag.startswith("-") and node.tag not in _DROPPED:
            writer.open(node.tag)
            writer.close(node.tag)
        node = node.next
    return writer.finished()


class _Writer:
    """Text between headings, with breaks where a reader of the page sees some."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._parts: list[str] = []
        self._break = ""
        self._level = 0
        self._verbatim = 0

    def open(self, tag: str) -> None:
        if tag in _HEADINGS and self._level == 0:
            self._finish()
            self._level = int(tag[1])
        self._verbatim += tag == "pre"
        self._between(tag)

    def close(self, tag: str) -> None:
        if tag in _HEADINGS and self._level == int(tag[1]):
            self._finish()
        self._verbatim -= tag == "pre"
        if tag != "br":
            self._between(tag)

    def text(self, text: str) -> None:
        text = clean(text)
        inner = text.strip("\n") if self._verbatim else " ".join(text.split())
        if not inner.strip() or text[0].isspace():
            self._widen(" ")
        if not inner.strip():
            return
        if self._parts:
            self._parts.append(self._break)
        self._parts.append(inner)
        self._break = " " if text[-1].isspace() else ""

    def finished(self) -> list[Block]:
        self._finish()
        return self._blocks

    def _between(self, tag: str) -> None:
        if tag in _PARAGRAPHS or (tag == "br" and self._break == "\n"):
            self._widen("\n\n")
        elif tag in _LINES:
            self._widen("\n")
        elif tag in _CELLS:
            self._widen(" ")

    def _widen(self, wanted: str) -> None:
        """The break before the next text is the widest that is asked for."""
        self._break = max(self._break, wanted, key=_WIDTHS.index)

    def _finish(self) -> None:
        text = "".join(self._parts)
        if text:
            self._blocks.append(Block(self._level, " ".join(text.split()) if self._level else text))
        self._parts, self._break, self._level = [], "", 0
