from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from synth.cli import terminal
from synth.cli.options import json_option, log_option
from synth.cli.reading import reading
from synth.store.log import payload_sql


@click.command(short_help="Show how far runs are.")
@log_option
@json_option
def command(log: Path, as_json: bool) -> None:
    """Show how far runs are: the one under way, and those that the log remembers."""
    from synth.base.errors import LogHeld
    from synth.runtime.events.progress import progress_path

    try:
        with reading(log, deep=False) as opened:
            runs, gone = _runs(opened), _forgotten(opened)
            events = opened.next_seq
            other = _outdated(opened)
    except LogHeld:
        _print_live(progress_path(log), log, as_json)
        return
    if as_json:
        terminal.as_json({"events": events, "runs": runs, **gone, **({"outdated": other} if other else {})})
        return
    from synth.cli.output import plural, table
    from synth.store.log.served import in_words

    terminal.say(f"{log}: {plural(events, 'event')}, {plural(len(runs), 'run')}")
    if gone:
        n = gone["forgotten"]
        terminal.say(
            f"  forgotten: {plural(n['samples'], 'sample')} and {plural(n['rows'], 'row')} of sources; "
            f"{plural(n['payloads'], 'payload')} "
            f"{'is a tombstone' if n['payloads'] == 1 else 'are tombstones'}"
        )
    if runs:
        terminal.say()
        called = any(run["functions"] for run in runs)
        rows = [
            [
                *(run[name] for name in ("run_id", "recipe", "started", "outcome")),
                *(_reached(run["cohorts"]), _wrote(run), run["calls"]),
                *([run["functions"]] if called else []),
                run["samples"],
            ]
            for run in runs
        ]
        header = ["run", "recipe", "started", "outcome", "reached", "models", "calls"]
        header += [*(["functions"] if called else []), "new samples"]
        terminal.block(table(header, rows, left=6))
        for run in runs:
            for told in in_words(run.get("served", {})):
                terminal.say(f"  {run['run_id']}: {told}")
    for told in other:
        terminal.tell(f"warning: {told}")


def _outdated(log: Any) -> list[str]:
    """What is to be said of the files of each recipe's last run, where they lie as its recipe says below
    this folder or the log's."""
    plans = log.cursor().execute(
        f"""SELECT arg_max(plans.plan, runs.seq) FROM (
                SELECT seq, {payload_sql.PLAN_HASH} AS plan_hash FROM events WHERE kind = 'run.started'
            ) AS runs JOIN (
                SELECT {payload_sql.PLAN_HASH} AS plan_hash, {payload_sql.PLAN_RECIPE} AS recipe,
                       {payload_sql.PLAN} AS plan
                FROM events WHERE kind = 'plan.registered'
            ) AS plans USING (plan_hash) GROUP BY plans.recipe"""
    )
    found = [row for row in plans.fetchall() if '"sources":[]' not in row[0]]
    if not found:
        return []
    from synth.compiler.plan.model import Plan
    from synth.runtime.run.outdated import outdated

    told: list[str] = []
    for (text,) in found:
        try:
            plan = Plan.from_json(text)
        except ValueError:
            # The log has forgotten it.
            continue
        for folder in dict.fromkeys((Path.cwd(), log.path.resolve().parent)):
            told += outdated(plan.below(folder), log)
    return list(dict.fromkeys(told))


def _forgotten(log: Any) -> dict[str, Any]:
    """What was forgotten of a log, in all; nothing where it forgot nothing."""
    found = (
        log.cursor()
        .execute(
            f"""SELECT sum(CAST({payload_sql.SAMPLES} AS BIGINT)), sum(CAST({payload_sql.ROWS} AS BIGINT)),
                      sum(CAST({payload_sql.PAYLOADS} AS BIGINT))
               FROM events WHERE kind = 'log.rewritten'"""
        )
        .fetchone()
    )
    if found is None or found[0] is None:
        return {}
    return {"forgotten": {"samples": int(found[0]), "rows": int(found[1]), "payloads": int(found[2])}}


def _reached(cohorts: dict[str, Any] | None) -> str:
    """How far a run came with each conversation, what earlier runs had included; nothing of one that
    was cut off."""
    return ", ".join(
        f"{name} {c['completed']:,}/{c['quota']:,}"
        + (f" ({c['abandoned']:,} abandoned)" if c["abandoned"] else "")
        for name, c in (cohorts or {}).items()
    )


def _runs(log: Any) -> list[dict[str, Any]]:
    from synth.store.log.events import OF_NO_RUN

    rows = (
        log.cursor()
        .execute(
            f"""
            WITH plans AS (
                SELECT {payload_sql.PLAN_HASH} AS plan_hash, {payload_sql.PLAN_RECIPE} AS recipe
                FROM events WHERE kind = 'plan.registered'
            )
            SELECT run_id,
                   min(ts_us) FILTER (kind = 'run.started') AS started,
                   any_value({payload_sql.PLAN_HASH}) FILTER (kind = 'run.started') AS plan_hash,
                   any_value({payload_sql.OUTCOME}) FILTER (kind = 'run.stopped') AS outcome,
                   CAST(any_value({payload_sql.COUNTS_COHORTS}) FILTER (kind = 'run.stopped') AS VARCHAR)
                       AS cohorts,
                   count(*) FILTER (kind = 'call.completed') AS calls,
                   count(*) FILTER (kind = 'sample.completed') AS samples,
                   count(DISTINCT {payload_sql.KEY}) FILTER (kind = 'function.done') AS functions,
                   any_value(plans.recipe),
                   CAST(any_value({payload_sql.COUNTS_SERVED}) FILTER (kind = 'run.stopped') AS VARCHAR),
                   CAST(any_value({payload_sql.LINEAGES}) FILTER (kind = 'run.started') AS VARCHAR)
            FROM events LEFT JOIN plans ON plans.plan_hash = events.{payload_sql.PLAN_HASH}
                 AND events.kind = 'run.started'
            WHERE events.kind NOT IN (SELECT unnest(?))
            GROUP BY run_id ORDER BY min(seq)
            """,
            [OF_NO_RUN],
        )
        .fetchall()
    )
    return [
        {
            "run_id": run_id,
            "recipe": recipe,
            "plan_hash": plan_hash,
            "started": datetime.fromtimestamp((started or 0) / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
            "outcome": outcome or "was cut off",
            "calls": calls,
            "samples": samples,
            "functions": functions,
            "cohorts": None if cohorts is None else json.loads(cohorts),
            **({} if served is None else {"served": json.loads(served)}),
            **_models(made),
        }
        for (
            run_id,
            started,
            plan_hash,
            outcome,
            cohorts,
            calls,
            samples,
            functions,
            recipe,
            served,
            made,
        ) in rows
    ]


def _models(lineages: str | None) -> dict[str, Any]:
    """Where each model of a run ran, by name, and which of them were simulated."""
    models: dict[str, dict[str, Any]] = {}
    for entry in json.loads(lineages or "{}").values():
        models.update(entry.get("models") or {})
    return {
        "models": {
            name: f"{each['backend']}:{each['id']}" + (f"@{each['revision']}" if each.get("revision") else "")
            for name, each in sorted(models.items())
        },
        "simulated": sorted(name for name, each in models.items() if each["backend"] == "simulated"),
    }


def _wrote(run: dict[str, Any]) -> str:
    """Whether models of a run were simulated: all, or which; else where they ran."""
    simulated = run["simulated"]
    if simulated and len(simulated) == len(run["models"]):
        return "simulated"
    places = (f"{name} simulated" if name in simulated else place for name, place in run["models"].items())
    return ", ".join(dict.fromkeys(places))


def _print_live(path: Path, log: Path, as_json: bool) -> None:
    from synth.base.errors import LogError
    from synth.cli.output import duration, table

    try:
        live = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise LogError(f"{log} is being written, and there is no {path} yet that says how far") from None
    if as_json:
        terminal.as_json(live)
        return
    terminal.say(
        f"{live['recipe']}: {live['state']} in process {live['pid']} for {duration(live['seconds'])}", ""
    )
    rows = [
        [name, c["completed"], c["quota"], c["abandoned"], c["open"]] for name, c in live["cohorts"].items()
    ]
    terminal.block(table(["conversation", "completed", "quota", "abandoned", "open"], rows))
