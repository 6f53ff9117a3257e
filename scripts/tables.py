"""dsl/grammar.json: Lark's tables for `dsl/grammar.lark`, the same text on every machine and Python."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from synth.dsl.tables import GRAMMAR, TABLES, build, digest

# All of these give the same tables.  With another they are built, until it is tried and listed here.
LARKS = ["1.2.2", "1.3.0", "1.3.1"]

# Versions of Lark know different options; the others have their defaults.
_OPTIONS = ("parser", "lexer", "start", "propagate_positions", "maybe_placeholders")

# Python 3.12 calls an expression without a bound wider than 3.11 does; the order of terminals is the same.
_WIDEST = 2**32 - 1


def text() -> str:
    """The file, as it should be."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    grammar = GRAMMAR.read_text("utf-8")
    data, memo = build(grammar).memo_serialize([TerminalDef, Rule])
    data["parser"]["parser"] = _ordered(data["parser"]["parser"])
    data["options"] = {name: data["options"][name] for name in _OPTIONS}
    parts: list[Any] = []
    content = {
        "larks": LARKS,
        "grammar": digest(grammar),
        "data": data,
        "memo": [_shared(memo[number], parts) for number in range(len(memo))],
        "parts": parts,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"


def _ordered(table: dict[str, Any]) -> dict[str, Any]:
    """States in the order in which they are reached: Lark numbers them by the order of sets."""
    rows = {
        state: sorted((str(table["tokens"][token]), action) for token, action in actions.items())
        for state, actions in table["states"].items()
    }
    waiting = deque(state for _, state in sorted(table["start_states"].items()))
    numbers = {state: number for number, state in enumerate(waiting)}
    while waiting:
        for _, (reduces, target) in rows[waiting.popleft()]:
            if not reduces and target not in numbers:
                numbers[target] = len(numbers)
                waiting.append(target)
    return {
        "start_states": {name: numbers[state] for name, state in table["start_states"].items()},
        "end_states": {name: numbers[state] for name, state in table["end_states"].items()},
        "states": [
            {name: ~target["@"] if reduces else numbers[target] for name, (reduces, target) in rows[state]}
            for state in numbers
        ],
    }


def _shared(entry: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
    """A rule with numbers of parts for what many rules have; a terminal no wider than the widest."""

    def number(part: Any) -> int:
        if part not in parts:
            parts.append(part)
        return parts.index(part)

    if entry["__type__"] == "Rule":
        return entry | {
            "origin": number(entry["origin"]),
            "options": number(entry["options"]),
            "expansion": [number(symbol) for symbol in entry["expansion"]],
        }
    pattern = entry["pattern"]
    if pattern.get("_width"):
        pattern = pattern | {"_width": [min(width, _WIDEST) for width in pattern["_width"]]}
    return entry | {"pattern": pattern}


if __name__ == "__main__":
    TABLES.write_text(text(), "utf-8")
