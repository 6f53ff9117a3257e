"""The recipe language: text in, syntax tree and diagnostics out.

    source, faults = read(path)
    syntax, more = parse(source)
    print(to_text([*faults, *more], color=False, width=100))

`synth.dsl.syntax` has the tree's nodes.
"""

from __future__ import annotations

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Fix, Label, Severity
from synth.base.diagnostics.render import to_github, to_json, to_text
from synth.base.diagnostics.source import Source, Span
from synth.base.suggest import suggest
from synth.dsl.parse import parse
from synth.dsl.read import MAX_BYTES, read, read_text
from synth.dsl.syntax import Syntax

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
