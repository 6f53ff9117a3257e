"""Binding of what numbers and days are drawn from: `uniform(36.5..41.2)`, `normal(..)`, `dates(..)`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from synth.base.display import quoted
from synth.base.suggest import suggest
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.plan.signature import Parameter
from synth.compiler.plan.tables.spread import SpreadPlan
from synth.compiler.plan.types import COUNT, NUMBER, RANGE, TEXT
from synth.dsl.syntax import Call, Range

SPREADS: Mapping[str, tuple[Parameter, ...]] = {
    "uniform": (Parameter("range", RANGE),),
    "normal": (Parameter("mean", NUMBER), Parameter("sd", NUMBER), Parameter("digits", COUNT, 1)),
    "dates": (Parameter("first", TEXT), Parameter("last", TEXT)),
}
EXAMPLES = {
    "uniform": "uniform(36.5..41.2)",
    "normal": "normal(37.2, 0.6, digits = 1)",
    "dates": 'dates("2024-01-01", "2024-12-31")',
}
# Whole numbers up to here are floats exactly, so that (low + i) / 10**digits is the nearest one.
_EXACT = 2**53
_MOST_DIGITS = 9


def bind_spread(call: Call, scope: Scope) -> SpreadPlan | None:
    """What a call spreads a draw over; None after a report."""
    name = str(call.function)
    if name not in SPREADS:
        guess = suggest(name, SPREADS)
        scope.report(
            "E203",
            f"nothing is drawn from `{name}(..)`",
            call.function.span,
            hint=f"did you mean `{guess}`?" if guess else f"for example `{EXAMPLES['uniform']}`",
        )
        return None
    arguments = bind_arguments(name, call.arguments, SPREADS[name], call.span, EXAMPLES[name], scope)
    if arguments is None:
        return None
    if name == "uniform":
        return _uniform(arguments["range"], call, scope)
    if name == "normal":
        return _normal(arguments, call, scope)
    return _dates(arguments, call, scope)


def _refuse(message: str, call: Call, scope: Scope) -> None:
    scope.report("E202", message, call.span, hint=f"for example `{EXAMPLES[str(call.function)]}`")


def _uniform(ends: Any, call: Call, scope: Scope) -> SpreadPlan | None:
    written = call.arguments[0].value
    # A literal has its digits as they are written: `1.50..2.5` goes in hundredths.
    pair = (written.low, written.high) if isinstance(written, Range) else ends
    if None in pair:
        _refuse(f"`{written.span.text}` has no end on one side, and `uniform` is between two", call, scope)
        return None
    low, high = (end if isinstance(end, Decimal) else Decimal(str(end)) for end in pair)
    digits = max(0, *(-int(end.as_tuple().exponent) for end in (low, high)))
    first, last = (int(end.scaleb(digits)) for end in (low, high))
    if digits > _MOST_DIGITS or max(abs(first), abs(last)) >= _EXACT:
        _refuse(f"`{written.span.text}` has more digits than a number holds", call, scope)
        return None
    text = f"uniform({low}..{high})"
    return SpreadPlan(kind="uniform", text=text, low=first, count=last - first + 1, digits=digits)


def _normal(arguments: Mapping[str, Any], call: Call, scope: Scope) -> SpreadPlan | None:
    mean, sd, digits = arguments["mean"], arguments["sd"], arguments["digits"]
    if sd <= 0:
        _refuse(f"a standard deviation is above zero, and `{sd}` is not", call, scope)
        return None
    if digits > _MOST_DIGITS or max(abs(mean), sd) >= 1e15:
        _refuse(f"`{call.span.text}` has more digits than a number holds", call, scope)
        return None
    text = f"normal({mean}, {sd}, digits = {digits})"
    return SpreadPlan(kind="normal", text=text, mean=mean, sd=sd, digits=digits)


def _dates(arguments: Mapping[str, Any], call: Call, scope: Scope) -> SpreadPlan | None:
    days = []
    for name in ("first", "last"):
        try:
            days.append(date.fromisoformat(arguments[name]))
        except ValueError:
            _refuse(
                f"{quoted(arguments[name])} is no day, which is written as year, month and day", call, scope
            )
            return None
    first, last = days
    if last < first:
        _refuse(f"no day lies between {first} and {last}: the earlier one comes first", call, scope)
        return None
    text = f'dates("{first}", "{last}")'
    return SpreadPlan(kind="dates", text=text, low=first.toordinal(), count=(last - first).days + 1)
