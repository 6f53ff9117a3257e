"""Whether a text is code of a language, as its parser says: nothing is run.

Where a text has fenced blocks, one of them is the code: the only one of its language, or the only one that
names no language.  Text that is code as it stands is taken as it stands.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from synth.base.display import quoted
from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.compiler.stdlib.checks.strict_json import json_valid

LANGUAGES = ("python", "json", "sql")
# Dialects that sqlglot reads; `""` is what most of them share.
DIALECTS = tuple(
    "athena bigquery clickhouse databricks dax doris dremio drill druid duckdb dune exasol fabric "
    "hive materialize mysql oracle postgres presto prql redshift risingwave snowflake spark spark2 "
    "sqlite starrocks tableau teradata trino tsql".split()
)
# Characters that are parsed at most, of each language: about a third of a second.
_MOST = {"python": 200_000, "sql": 20_000}
_NAMES = {"python": "Python", "json": "JSON", "sql": "SQL"}
_FENCED = {"python": ("python", "py", "python3"), "json": ("json",), "sql": ("sql", "sqlite")}
_FENCE = re.compile(r"^ {0,3}(`{3,})[ \t]*([^\s`]*)[^`\n]*$", re.MULTILINE)
# What the parser takes for a command of which it reads the first word alone.
_COMMAND = re.compile(
    r"\s*(?:REPLACE\s+INTO\s|EXPLAIN\s+(?:QUERY\s+PLAN\s+|ANALYZE\s+)?(?:SELECT|WITH|INSERT|UPDATE|DELETE)\b)",
    re.IGNORECASE,
)
_STATEMENTS = tuple(
    "Query Values DML Create Drop Alter TruncateTable Pragma Transaction Commit Rollback Attach "
    "Detach Set Use Describe Analyze Comment Semicolon".split()
)


def parses_as(text: str, language: str, dialect: str = "") -> str | None:
    try:
        code = code_of(text, language)
    except ValueError as error:
        return str(error)
    return _fault(code, language, dialect)


def code_of(text: str, language: str) -> str:
    """The code that a text has.  Raises ValueError, with a clause, where its fenced blocks leave open which
    one it is."""
    fences = list(_FENCE.finditer(text))
    if not fences or (language != "sql" and _fault(text, language, "") is None):
        return text
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif len(fence[1]) >= len(opened[1]) and not fence[2]:
            blocks.append((opened[2].lower(), text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is not None:
        raise ValueError("opens a fenced block that it does not close")
    named = [code for word, code in blocks if word in _FENCED[language]]
    found = named or [code for word, code in blocks if not word]
    if len(found) == 1:
        return found[0]
    what = f"blocks of {_NAMES[language]}" if found else f"block of {_NAMES[language]} among its fenced ones"
    raise ValueError(f"has {len(found)} fenced {what}, and one is asked for" if found else f"has no {what}")


def _fault(code: str, language: str, dialect: str) -> str | None:
    """Why a code is none of its language, or None."""
    most = _MOST.get(language, len(code))
    if len(code) > most:
        return f"has {len(code):,} characters, and {most:,} are parsed at most"
    if not code.strip():
        return f"has no {_NAMES[language]}"
    return {"python": _python, "json": json_valid}.get(language, _sql(dialect))(code)


def _python(code: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        place = f" at line {error.lineno}" if error.lineno else ""
        return f"is no Python: {_said(error.msg)}{place}"
    except UnicodeEncodeError:
        return "is no Python: it holds half of a character"
    except (RecursionError, MemoryError):
        return "is nested too deeply to be parsed"
    except ValueError as error:
        return f"is no Python: {_said(str(error))}"
    return None


def _sql(dialect: str) -> Callable[[str], str | None]:
    return lambda code: _fault_of_sql(code, dialect)


def _fault_of_sql(code: str, dialect: str) -> str | None:
    if "\0" in code:
        return "is no SQL: it holds U+0000"
    library = sqlglot()
    try:
        statements = [each for each in library.parse(code, read=dialect or None) if each is not None]
    except library.errors.SqlglotError as error:
        return f"is no SQL: {_said(_message(error))}"
    except RecursionError:
        return "is nested too deeply to be parsed"
    except Exception as error:
        # What the parser trips over is no SQL to it either.
        return f"is no SQL: the parser ends with {type(error).__name__}"
    kinds = tuple(getattr(library.exp, name) for name in _STATEMENTS)
    if not statements:
        return "has no SQL"
    for each in statements:
        if isinstance(each, library.exp.Command):
            if _COMMAND.match(each.sql(dialect=dialect or None)) is None:
                return f"is no SQL that is known: {quoted(_said(each.name), 40)}"
        elif not isinstance(each, kinds):
            return f"is no statement of SQL: {quoted(_said(code), 40)}"
    return None


def _message(error: Any) -> str:
    told = getattr(error, "errors", None)
    if told:
        return f"{told[0]['description']} at line {told[0]['line']}".replace(". at", " at")
    return str(error)


def _said(text: str) -> str:
    """What a parser says, on one line."""
    said = " ".join(text.encode("utf-8", "replace").decode("utf-8").split()).rstrip(".")
    return said if len(said) <= 160 else f"{said[:157]}..."


@cache
def sqlglot() -> Any:
    """The parser of SQL.  Raises ConfigError where it is not installed."""
    try:
        import sqlglot
        import sqlglot.errors
    except ImportError:
        raise ConfigError(
            f'the check `parses_as("sql")` needs `sqlglot`, which is not installed: {install("sql")}'
        ) from None
    import logging

    # It warns of what it reads the first word of alone, which is judged here.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    return sqlglot


def prepare(arguments: Mapping[str, Any]) -> None:
    """Raises ConfigError where a language has no parser here."""
    if arguments.get("language") == "sql":
        sqlglot()
