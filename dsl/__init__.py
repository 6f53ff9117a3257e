"""The recipe language: text in, syntax tree and diagnostics out.

    source, faults = read(path)
    syntax, more = parse(source)
    print(to_text([*faults, *more], color=False, width=100))

`dsl.syntax` has the tree's nodes.
"""

from __future__ import annotations

from dsl.diagnostic import Diagnostic, Diagnostics, Fix, Label, Severity
from dsl.parse import parse
from dsl.read import MAX_BYTES, read, read_text
from dsl.render import to_github, to_json, to_text
from dsl.source import Source, Span
from dsl.suggest import suggest
from dsl.syntax import Syntax

__all__ = [
    "MAX_BYTES",
    "Diagnostic",
    "Diagnostics",
    "Fix",
    "Label",
    "Severity",
    "Source",
    "Span",
    "Syntax",
    "parse",
    "read",
    "read_text",
    "suggest",
    "to_github",
    "to_json",
    "to_text",
]
