"""From a source to its syntax tree and everything that is wrong with its text."""

from __future__ import annotations

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics
from synth.base.diagnostics.source import Source
from synth.dsl.recovery.prepare import prepare
from synth.dsl.recovery.recover import recover
from synth.dsl.syntax import Syntax
from synth.dsl.tables import tables
from synth.dsl.tree import Builder


def parse(source: Source) -> tuple[Syntax, tuple[Diagnostic, ...]]:
    """Parses a recipe.  Never raises: faults are returned, in the order of their places.

    The syntax holds all that could be read; see `Syntax.poisoned` and `Statement.damaged`
    for what could not.
    """
    parser = tables()
    prepared = prepare(source)
    recovered = recover(prepared, parser)
    builder = Builder(prepared, parser, recovered.repairs, recovered.fault_lines)
    statements = builder.statements(recovered.tree)
    diagnostics = Diagnostics()
    diagnostics.extend(prepared.diagnostics)
    diagnostics.extend(recovered.diagnostics)
    diagnostics.extend(builder.diagnostics)
    return Syntax(statements, recovered.poisoned, source), diagnostics.sorted()
