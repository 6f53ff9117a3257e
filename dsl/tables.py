"""Lark's tables for `grammar.lark`, built once and kept in the user's cache folder.

Building takes ten times as long as loading.  Lark's own cache is a pickle, which runs
what it holds, so the tables are kept as plain data instead.
"""

from __future__ import annotations

import marshal
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.base.cache import load, store

if TYPE_CHECKING:
    from lark import Lark

GRAMMAR = Path(__file__).with_name("grammar.lark")

# The folder in the cache.
_FOLDER = "tables"


@cache
def tables() -> Lark:
    """The parser, for both start symbols.  It holds no state of a parse: share it freely."""
    from lark import Lark, __version__

    grammar = GRAMMAR.read_text("utf-8")
    key = sha256("\0".join((grammar, __version__, sys.version, str(marshal.version))).encode()).hexdigest()
    name = f"grammar-{key[:32]}"
    stored = load(_FOLDER, name)
    if stored is not None:
        # A file that passes its digest and still does not load is a fault of this module,
        # and the only harm is the time to build.
        with suppress(Exception):
            return Lark.load(stored)
    built = build(grammar)
    store(_FOLDER, name, _plain_tables(built))
    return built


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


def _plain_tables(parser: Lark) -> dict[str, Any]:
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = parser.memo_serialize([TerminalDef, Rule])
    plain: dict[str, Any] = _plain({"data": data, "memo": memo})
    return plain


def _plain(value: Any) -> Any:
    """A copy without subclasses of `str`, which `marshal` refuses."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
