"""What checks look for in fields of made-up answers: words of the passages, or code."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from synth.compiler.plan.steps import CheckPlan

Schema = Mapping[str, Any]
Path = tuple[str, ...]

# What makes a sentence code of a language: what stands before it and behind it.
CODE = {"python": ('said = "', '"'), "json": ('{"answer":"', '"}'), "sql": ("SELECT '", "'")}


def quote(made: Any, schema: Schema, check: CheckPlan, random: Random, path: Path | None = None) -> Any:
    """The same value with words of the passages, or code, in it wherever a check looks for them."""
    path = check.of or () if path is None else path
    if isinstance(made, list):
        made[:] = [quote(item, schema.get("items", {}), check, random, path) for item in made]
    elif isinstance(made, dict) and path:
        name, *rest = path
        if name in made:
            inner = schema.get("properties", {}).get(name, {})
            made[name] = quote(made[name], inner, check, random, tuple(rest))
    elif isinstance(made, str):
        if check.name == "parses_as":
            before, after = CODE[str(check.arguments["language"])]
            most = schema.get("maxLength", 10_000) - len(before) - len(after)
            return f"{before}{made[: max(most, 0)]}{after}"
        return _excerpt(check, schema.get("minLength", 1), schema.get("maxLength", 60), random)
    return made


def _excerpt(check: CheckPlan, low: int, high: int, random: Random) -> str:
    """Some words in a row of one of the passages, of a length within bounds where they are that long."""
    given: Any = check.arguments["passages"]
    passage = random.choice(given) if isinstance(given, list) and given else given
    text = passage.get("text", "") if isinstance(passage, Mapping) else str(passage)
    words = text.split()
    start = random.randrange(max(1, len(words) // 2)) if words else 0
    found = ""
    for word in words[start:]:
        longer = f"{found} {word}".strip()
        if len(longer) > high or (len(found) >= low and random.random() < 0.2):
            break
        found = longer
    return found if len(found) >= low else " ".join(words)[:high]
