"""Runs queries in sqlite that may read and nothing else.  A worker imports it, so it imports nothing of ours.

The worker has the limits of time and memory; here are those of what sqlite does.
"""

import os
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from typing import Any

# Bytes that sqlite may take, and that a value, a row or a query may have.
HEAP = 512 << 20
LENGTH = 16 << 20
ROWS = 100_000
SAID = 300

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_MAKING = _READING | {
    getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        *("CREATE_INDEX", "CREATE_TABLE", "CREATE_TEMP_INDEX", "CREATE_TEMP_TABLE", "CREATE_TEMP_TRIGGER"),
        *("CREATE_TEMP_VIEW", "CREATE_TRIGGER", "CREATE_VIEW", "CREATE_VTABLE", "ALTER_TABLE", "ANALYZE"),
        *("DROP_INDEX", "DROP_TABLE", "DROP_TEMP_INDEX", "DROP_TEMP_TABLE", "DROP_TEMP_TRIGGER"),
        *("DROP_TEMP_VIEW", "DROP_TRIGGER", "DROP_VIEW", "DROP_VTABLE", "INSERT", "UPDATE", "DELETE"),
        *("REINDEX", "TRANSACTION", "SAVEPOINT"),
    )
}
# Functions by which a query would reach what is not in its database.
_REACHING = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
# What DDL for other programs, or dumped by them, sets.
_SETTINGS = {"foreign_keys", "encoding"}
_DENIED = {
    value: name.removeprefix("SQLITE_").replace("_", " ")
    for name, value in vars(sqlite3).items()
    if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_"))
    or name
    in (
        *("SQLITE_ALTER_TABLE", "SQLITE_ANALYZE", "SQLITE_ATTACH", "SQLITE_DELETE", "SQLITE_DETACH"),
        *("SQLITE_INSERT", "SQLITE_PRAGMA", "SQLITE_REINDEX", "SQLITE_SAVEPOINT", "SQLITE_TRANSACTION"),
        "SQLITE_UPDATE",
    )
}


class Refused(Exception):
    """Why a query, or what it is to run on, is of no use: a clause."""


def sql_runs(
    query: str,
    schema: str | None = None,
    schema_file: str | None = None,
    database: str | None = None,
    rows: Any = None,
) -> str | None:
    """Why a query does not run, or gives too many or too few rows; None where it does."""
    try:
        found = 0
        if schema is not None or schema_file is not None:
            found = _count(_named(query), _made(schema, schema_file))
        if database is not None:
            found = _count(_named(query), _opened(database))
    except Refused as error:
        return str(error)
    low, high = (rows, rows) if isinstance(rows, int) else rows or (None, None)
    if low is not None and found < low:
        given = "no row" if found == 0 else f"{found:,} row{'s' * (found > 1)}"
        return f"gives {given}; at least {low:,} {'is' if low == 1 else 'are'} asked for"
    if high is not None and found > high:
        return f"gives {found:,} rows; at most {high:,} are asked for"
    return None


def sql_same(
    query: str,
    wanted: str,
    schema: str | None = None,
    schema_file: str | None = None,
    database: str | None = None,
) -> dict[str, str]:
    """Whether a query gives what the `wanted` one gives: nothing where it does, else `why` it does not;
    `unfit` says why the wanted one does not run itself.  Rows are in an order where that one asks for it.
    Names of columns do not count, and whole numbers equal their floating-point forms."""

    def result(text: str) -> list[tuple[str, ...]]:
        connection = _made(schema, schema_file) if database is None else _opened(database)
        return [tuple(map(_compared, row)) for row in _rows(text, connection)]

    try:
        expected = result(wanted)
    except Refused as error:
        return {"unfit": str(error)}
    try:
        found = result(query)
    except Refused as error:
        return {"why": str(error)}
    if len(found) != len(expected):
        return {"why": f"gives {len(found):,} rows, and {len(expected):,} are right"}
    if found and len(found[0]) != len(expected[0]):
        return {"why": f"gives {len(found[0])} columns, and {len(expected[0])} are right"}
    if found == expected or (not _is_ordered(wanted) and sorted(found) == sorted(expected)):
        return {}
    return {"why": "gives other rows, or in another order"}


def _named(query: str) -> str:
    """A query where what stands in double quotes is a name: sqlite takes a name that it does not know for a
    text, and so refuses no column that is not there.  It never does so between backticks."""

    def backticked(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] != '"':
            return token
        return "`" + token[1:-1].replace('""', '"').replace("`", "``") + "`"

    return _TOKENS.sub(backticked, query)


def _is_ordered(query: str) -> bool:
    """Whether a query as a whole asks for an order: what stands in quotes, comments and brackets does not."""
    plain = _QUOTED.sub(" ", query)
    while (shorter := _BRACKETS.sub(" ", plain)) != plain:
        plain = shorter
    return _ORDER.search(plain) is not None


_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^]]*\]|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)""", re.DOTALL
)
_EXPLAINS = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z)|;)*explain\b", re.DOTALL | re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)")
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)


def _compared(value: Any) -> str:
    """A value as it is compared."""
    if isinstance(value, bytes):
        return f"t{value!r}"
    if isinstance(value, int | float):
        return f"n{value:.10g}" if abs(value) < 1e15 else f"n{value!r}"
    return "null"


def _count(query: str, connection: sqlite3.Connection) -> int:
    return sum(1 for _ in _rows(query, connection))


def _rows(query: str, connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """The rows of one query that reads.  Raises Refused, with what sqlite says."""
    denied: list[str] = []

    def allows(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _REACHING:
            denied.append(f"calls `{second}`")
        elif action not in _READING:
            # What is made or dropped is first of all a row of the schema.
            of_schema = str(first).startswith("sqlite_")
            denied.append("changes the schema" if of_schema else f"asks for {_DENIED.get(action, 'more')}")
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    connection.set_authorizer(allows)
    try:
        if _EXPLAINS.match(query):
            raise Refused("is no query: it only explains one")
        cursor = connection.execute(query)
        if cursor.description is None:
            raise Refused("is no query: it gives no result")
        for number, row in enumerate(cursor):
            if number >= ROWS:
                raise Refused(f"gives more than {ROWS:,} rows")
            yield row
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        if denied:
            raise Refused(f"{denied[0]}, and only reading is allowed") from None
        raise Refused(_told(error)) from None
    finally:
        connection.close()


def _made(schema: str | None, schema_file: str | None) -> sqlite3.Connection:
    """A database in memory, as DDL makes it.  Raises Refused."""
    if schema_file is not None:
        try:
            with open(schema_file, encoding="utf-8") as file:
                schema = file.read()
        except (OSError, ValueError) as error:
            raise Refused(f"was not run: its schema cannot be read: {error}") from None
    connection = _limited(sqlite3.connect(":memory:", isolation_level=None))
    denied: list[str] = []

    def allows(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _REACHING:
            denied.append(f"it calls `{second}`")
        elif (action == sqlite3.SQLITE_PRAGMA and str(first).lower() in _SETTINGS) or action in _MAKING:
            return sqlite3.SQLITE_OK
        else:
            denied.append(f"it asks for {_DENIED.get(action, 'what')}, which is not allowed there")
        return sqlite3.SQLITE_DENY

    connection.set_authorizer(allows)
    try:
        connection.executescript(schema or "")
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        connection.close()
        why = denied[0] if denied else _told(error)
        raise Refused(f"was not run: of its schema sqlite says: {why}") from None
    return connection


def _opened(database: str) -> sqlite3.Connection:
    """A database of a file, to be read as it is.  Raises Refused."""
    path = urllib.parse.quote(os.path.abspath(database))
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, isolation_level=None)
        _limited(connection)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        name = os.path.basename(database)
        raise Refused(f"was not run: of the database `{name}` sqlite says: {_told(error)}") from None
    return connection


def _limited(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.text_factory = bytes
    connection.execute(f"PRAGMA hard_heap_limit = {HEAP}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    # `setlimit` is there from Python 3.11 on.
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LENGTH)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 1 << 20)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
    return connection


def _told(error: BaseException) -> str:
    said = " ".join(str(error).encode("utf-8", "replace").decode("utf-8").split())
    if isinstance(error, MemoryError):
        return "out of memory"
    if said.startswith("You can only execute one statement"):
        return "holds more than one statement"
    if said.startswith(("Incorrect number of bindings", "You did not supply a value for binding")):
        return "has a parameter, and no value for it"
    return (said[:SAID] or type(error).__name__).rstrip(".")
