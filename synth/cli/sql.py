from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import click

from synth.cli.options import json_option, log_option


@click.command(short_help="Ask the log a question.")
@click.argument("query")
@log_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--rows", type=click.IntRange(1), default=100, show_default=True, help="Most rows to show.")
def command(query: str, log: Path, as_json: bool, as_csv: bool, rows: int) -> None:
    """Ask the log a question in SQL; it is opened for reading only.

    Its tables are `events` and `batches`.  For example, what was rejected and why:

        synth sql "SELECT step, payload ->> 'check' AS \\"check\\", count(*) FROM events
        WHERE kind = 'step.rejected' GROUP BY ALL"
    """
    import duckdb

    from dsl.errors import ConfigError
    from store.log import Log
    from synth.cli.output import plural, table

    with Log(log, deep=False) as opened:
        cursor = opened.cursor()
        try:
            result = cursor.execute(query)
            header = [column[0] for column in result.description or []]
            found = result.fetchmany(rows + 1)
        except duckdb.Error as error:
            raise ConfigError(f"the query failed: {str(error).splitlines()[0]}") from None
    more = len(found) > rows
    found = found[:rows]
    if as_json:
        click.echo(
            json.dumps(
                [dict(zip(header, row, strict=True)) for row in found], ensure_ascii=False, default=str
            )
        )
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(found)
    elif header:
        click.echo(table(header, found, left=len(header)))
    if more:
        click.echo(f"... more than {plural(rows, 'row')}; --rows shows more", err=True)
