"""What queries give in sqlite, each on a database of its own that can only be read."""

import json
import sqlite3
from contextlib import closing

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_MOST_ROWS = 500
# Steps of sqlite's machine, in thousands.
_MOST_STEPS = 20_000


def result(sql: str, tables: str) -> str:
    """What a query gives on tables, as JSON; in the order of its rows where it asks for one.

    Raises sqlite3.Error for a query that does not run, ValueError for one that gives too much.
    """
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(tables)
        database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY
        )
        steps = iter(range(_MOST_STEPS))
        database.set_progress_handler(lambda: next(steps, None) is None, 1_000)
        rows = database.execute(sql).fetchmany(_MOST_ROWS + 1)
    if len(rows) > _MOST_ROWS:
        raise ValueError(f"it gives more than {_MOST_ROWS} rows")
    found = [json.dumps([_plain(value) for value in row]) for row in rows]
    return f"[{', '.join(found if 'order by' in sql.lower() else sorted(found))}]"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    return value.hex() if isinstance(value, bytes) else value
