"""Lark's tables for `grammar.lark`, which lie beside it as plain data in `grammar.json`.

Building takes many times as long as loading.  `python scripts/tables.py` writes the data.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

GRAMMAR = Path(__file__).with_name("grammar.lark")
TABLES = GRAMMAR.with_suffix(".json")


@cache
def tables() -> Lark:
    """The parser, for both start symbols.  It holds no state of a parse: share it freely."""
    from lark import Lark, __version__

    grammar = GRAMMAR.read_text("utf-8")
    # Data that do not load, or are of another grammar or Lark, only cost the time to build.
    with suppress(Exception):
        shipped = json.loads(TABLES.read_bytes())
        if __version__ in shipped["larks"] and shipped["grammar"] == digest(grammar):
            return Lark.load(_expanded(shipped))
    return build(grammar)


def build(grammar: str, *, strict: bool = False) -> Lark:
    """Tables from a grammar's text.  `strict` refuses conflicts and needs `interegular`."""
    from lark import Lark

    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=["start", "interpolation"],
        propagate_positions=True,
        maybe_placeholders=False,
        strict=strict,
    )


def digest(grammar: str) -> str:
    """What says that tables are those of a grammar."""
    return sha256(grammar.encode()).hexdigest()


def _expanded(shipped: dict[str, Any]) -> dict[str, Any]:
    """What Lark loads.

    In the data a rule has the numbers of its `parts`, and an action is the number of the state
    that follows, or `~` the number of the rule to reduce by.
    """
    parts, memo, data = shipped["parts"], dict(enumerate(shipped["memo"])), shipped["data"]
    for rule in memo.values():
        if rule["__type__"] == "Rule":
            rule["origin"], rule["options"] = parts[rule["origin"]], parts[rule["options"]]
            rule["expansion"] = [parts[number] for number in rule["expansion"]]
    table = data["parser"]["parser"]
    actions: dict[int, tuple[int, Any]] = {number: (0, number) for number in range(len(table["states"]))}
    actions |= {~number: (1, {"@": number}) for number in memo}
    table["tokens"] = {name: name for state in table["states"] for name in state}
    table["states"] = {
        number: {name: actions[action] for name, action in state.items()}
        for number, state in enumerate(table["states"])
    }
    return {"data": data, "memo": memo}
