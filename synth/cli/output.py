"""What commands print: diagnostics, tables and small numbers, on a terminal or not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.display import escaped, text_width
from synth.base.display import plural as plural
from synth.cli import terminal

if TYPE_CHECKING:
    from synth.runtime.calls.breaker import Stuck

# Beyond this, faults are consequences of the first ones or of a file that is no recipe.
MOST_SHOWN = 50


def print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """Diagnostics as text on stderr, with a line that counts them."""
    from synth.base.diagnostics.render import to_text

    if not diagnostics:
        return
    width = shutil.get_terminal_size((100, 24)).columns
    shown = to_text(diagnostics[:MOST_SHOWN], color=terminal.colored(err=True), width=width)
    terminal.styled(shown, err=True)
    if len(diagnostics) > MOST_SHOWN:
        terminal.tell(f"... and {len(diagnostics) - MOST_SHOWN:,} more")
    errors = sum(1 for item in diagnostics if item.severity is Severity.ERROR)
    warnings = len(diagnostics) - errors
    parts = [plural(errors, "error")] if errors else []
    parts += [plural(warnings, "warning")] if warnings else []
    code = diagnostics[0].code
    terminal.tell(f"{' and '.join(parts)}; `synth explain {code}` says more")


def print_stuck(stuck: Sequence[Stuck]) -> None:
    """Steps that nothing passed: two of the answers that were refused, and what to change."""
    for each in stuck:
        terminal.say()
        for text in each.examples:
            terminal.say(f"  {each.cohort}.{each.step} refused: {text}")
        terminal.say(f"  {each.remedy[0].upper()}{each.remedy[1:]}; then the same command tries again.")


def duration(seconds: float) -> str:
    """`8s`, `3m 20s`, `2h 05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def money(amount: float | None) -> str:
    """Two decimals, or as many as show the first digits of a small amount."""
    if amount is None:
        return "-"
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.4f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """Columns lined up; the first `left` flush left, numbers flush right."""
    cells = [[_cell(value) for value in row] for row in [header, *rows]]
    widths = [max(text_width(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        gaps = [" " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True)]
        parts = [
            cell + gap if i < left else gap + cell
            for i, (cell, gap) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append("  " + "  ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")
    return escaped(str(value))
