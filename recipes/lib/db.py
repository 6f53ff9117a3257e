"""Queries run in sqlite, each on a database of its own that only can be read."""

import json
import sqlite3
from contextlib import closing

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_MOST_ROWS = 500
# Steps of sqlite's machine, in thousands.
_MOST_STEPS = 20_000


def runs(sql: str, tables: str) -> str | None:
    """Why a query does not run on tables or finds nothing; None where it gives rows."""
    try:
        found = _rows(sql, tables)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return f"does not run: {error}"
    return None if any(value is not None for row in found for value in row) else "gives nothing"


def result(sql: str, tables: str) -> str:
    """What a query gives, as JSON; in the order of its rows where it asks for one."""
    found = [json.dumps([_plain(value) for value in row]) for row in _rows(sql, tables)]
    return f"[{', '.join(found if 'order by' in sql.lower() else sorted(found))}]"


def _rows(sql: str, tables: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(tables)
        database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY
        )
        steps = iter(range(_MOST_STEPS))
        database.set_progress_handler(lambda: next(steps, None) is None, 1_000)
        found = database.execute(sql).fetchmany(_MOST_ROWS + 1)
    if len(found) > _MOST_ROWS:
        raise ValueError(f"it gives more than {_MOST_ROWS} rows")
    return found


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    return value.hex() if isinstance(value, bytes) else value
