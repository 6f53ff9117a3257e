"""Units that are not units: what was probably meant."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(-?[0-9][0-9_]*(?:\.[0-9]+)?)([A-Za-z][A-Za-z0-9_]*)")

_MEANT: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("pct", "pc", "percent", "perc", "p"), ("shares", "%")),
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), ("durations", "s")),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), ("durations", "m")),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "H"), ("durations", "h")),
    **dict.fromkeys(("msec", "msecs", "millis", "milliseconds", "MS"), ("durations", "ms")),
    **dict.fromkeys(("k", "K"), ("thousands", "_000")),
    **dict.fromkeys(("M", "mio"), ("millions", "_000_000")),
}


def unit_advice(written: str) -> tuple[str, str | None]:
    """A hint for a number with an unknown unit, and the text to replace it with if one is clear."""
    match = _PARTS.fullmatch(written)
    if match:
        number, unit = match.groups()
        what, meant = _MEANT.get(unit, ("", ""))
        whole = "." not in number
        if meant and not number.startswith("-") and (whole or not meant.startswith("_")):
            return f"{what} are written `{number}{meant}`", f"{number}{meant}"
    return "the units are `%`, `ms`, `s`, `m` and `h`; a count has none", None
