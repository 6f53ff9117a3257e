from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli import terminal
from synth.cli.options import json_option, log_option
from synth.cli.reading import reading

if TYPE_CHECKING:
    import duckdb

_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')
_NO_TABLE = re.compile(r"Table with name (?P<name>\S+) does not exist")
_NO_COLUMN = re.compile(r'column "(?P<name>[^"]+)" not found|have a column named "(?P<other>[^"]+)"')
# A question reads the log and nothing else: no file, no network, no extension, whatever it says.
_SEALED = """
SET autoinstall_known_extensions = false;
SET autoload_known_extensions = false;
SET enable_external_access = false;
SET lock_configuration = true;
"""


@click.command(short_help="Ask the log a question.")
@click.argument("query")
@log_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--rows", type=click.IntRange(1), default=100, show_default=True, help="Most rows to show.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Most time for an answer.",
)
def command(query: str, log: Path, as_json: bool, as_csv: bool, rows: int, seconds: float) -> None:
    """Ask the log a question in SQL: one SELECT, which reads the log and nothing else.

    JSON and CSV hold what the log holds: JSON with escapes for characters that would act on a
    terminal, CSV as it is, save on a terminal, where such characters are shown as escapes.

    Its tables are `events` and `batches`.  For example, what was rejected and why:

    \b
        synth sql "SELECT step, payload ->> 'check' AS why, count(*) AS refused
        FROM events WHERE kind = 'step.rejected' GROUP BY ALL"
    """
    from synth.base.errors import LogDamaged
    from synth.cli.output import plural, table
    from synth.store.log.chain import first_fault
    from synth.store.log.forgotten import forgotten_of

    with reading(log, deep=False) as opened:
        # Before the question, which locks what can be asked.
        fault = first_fault(opened.cursor(), deep=True)
        gone = len(forgotten_of(opened.cursor()).events)
        header, found = _answer(opened.cursor(), query, rows + 1, seconds)
    more = len(found) > rows
    found = found[:rows]
    if as_json:
        terminal.as_json([dict(zip(header, row, strict=True)) for row in found], indent=None)
    elif as_csv:
        terminal.data("".join(map(_csv_line, [header, *found])))
    elif header:
        terminal.block(table(header, found, left=len(header)))
    if more:
        terminal.tell(f"... more than {plural(rows, 'row')}; --rows shows more")
    if gone:
        were, them = ("was", "it") if gone == 1 else ("were", "them")
        terminal.tell(f"{plural(gone, 'payload')} of the log {were} forgotten: no answer is of {them}")
    if fault is not None:
        raise LogDamaged(
            f"{log}: batch {fault[0]} does not hold: {fault[1]}: the answer may not be of what was written, "
            f"and `synth doctor {log}` says more"
        )


def _csv_line(row: Sequence[Any]) -> str:
    """A record as RFC 4180 has it; nothing is NULL, and `""` an empty text."""
    cells = ["" if value is None else str(value) for value in row]
    quoted = [
        '"' + cell.replace('"', '""') + '"' if value == "" or _QUOTED.search(cell) else cell
        for value, cell in zip(row, cells, strict=True)
    ]
    return (",".join(quoted) or '""') + "\n"


def _reason(said: str) -> str:
    """Why a query failed, with the log's own tables or columns where it names another one."""
    from synth.base.suggest import some_of, suggest
    from synth.store.log.connection import TABLES

    first = said.splitlines()[0].split(": ", 1)[-1].rstrip("! ")
    table, column = _NO_TABLE.search(first), _NO_COLUMN.search(first)
    if table is not None:
        guess = suggest(table["name"].lower(), TABLES)
        return f"{first}; " + (f"did you mean `{guess}`?" if guess else f"its tables are {some_of(TABLES)}")
    if column is not None:
        every = [name for columns in TABLES.values() for name in columns]
        guess = suggest((column["name"] or column["other"]).lower(), every)
        of_tables = "; ".join(f"`{name}` has {', '.join(columns)}" for name, columns in TABLES.items())
        return f"{first}; " + (f"did you mean `{guess}`?" if guess else of_tables)
    return first


def _answer(
    cursor: duckdb.DuckDBPyConnection, query: str, most: int, seconds: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of an answer's columns, and its first rows.  Raises ConfigError."""
    import duckdb

    from synth.base.errors import ConfigError
    from synth.store.log.damage import is_damage

    limit = threading.Timer(seconds, cursor.interrupt)
    try:
        cursor.execute(_SEALED)
        statements = cursor.extract_statements(query.encode("utf-8", "backslashreplace").decode())
        kinds = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
        if len(statements) != 1 or statements[0].type not in kinds:
            raise ConfigError("a question to the log is one SELECT statement")
        limit.start()
        result = cursor.execute(statements[0])
        return [column[0] for column in result.description or []], result.fetchmany(most)
    except duckdb.InterruptException:
        raise ConfigError(
            f"the query took longer than {seconds:g} seconds: ask for less, or give it --seconds"
        ) from None
    except duckdb.PermissionException:
        raise ConfigError("the query reads or writes something else than the log, which it may not") from None
    except duckdb.Error as error:
        if is_damage(error):
            raise
        raise ConfigError(f"the query failed: {_reason(str(error))}") from None
    finally:
        limit.cancel()
