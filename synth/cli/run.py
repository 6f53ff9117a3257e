from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.cli import terminal
from synth.cli.options import (
    accept_loss_option,
    allow_code_option,
    allow_option,
    compile_recipe,
    json_option,
    load_settings,
    log_option,
    model_options,
    recipe_argument,
    set_option,
    wait_options,
)

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan
    from synth.runtime.run.report import RunReport
    from synth.runtime.sources.ingest import IngestedSource


@click.command(short_help="Generate until every quota is met.")
@recipe_argument
@set_option
@log_option
@model_options
@allow_option
@click.option("--limit", type=click.IntRange(1), help="Only this many samples of each conversation.")
@accept_loss_option
@click.option("--retry-lost", is_flag=True, help="Try again what earlier runs lost for good.")
@click.option("--max-calls", type=click.IntRange(0), help="Stop after this many calls.")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop after this long.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="Spend no more than this.")
@allow_code_option
@wait_options
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    allowed: tuple[Path, ...],
    accept_loss: bool,
    limit: int | None,
    retry_lost: bool,
    max_calls: int | None,
    max_minutes: float | None,
    max_cost: float | None,
    patience: float | None,
    grace: float,
    allow_code: bool,
    as_json: bool,
) -> None:
    """Generate until every quota is met.

    Every answer goes into the log, and what is there is never asked for again: to go on after a
    stop, run the same command.  Ctrl-C stops cleanly: calls in flight are awaited for the --grace,
    and a second one does not wait for them.  A service that does not answer is waited for.

    Exit status: 0 met, 1 failed, 2 usage, 3 quotas not met, 5 trouble with the log, 130 interrupted.
    """
    from synth.cli.progress import Display
    from synth.runtime.run.report import RunOptions
    from synth.runtime.run.run import run

    plan = compile_recipe(recipe, overrides)
    settings = load_settings(recipe, plan, models, pocket, simulate)
    options = RunOptions(
        limit,
        max_calls,
        max_minutes,
        max_cost,
        retry_lost=retry_lost,
        patience=patience,
        grace=grace,
        accept_loss=accept_loss,
        allowed=allowed,
        allow_code=allow_code,
    )
    with Display(quiet=as_json) as display:
        report = run(plan, settings, log, options, display.watch)
    if as_json:
        terminal.as_json(_as_json(report))
    else:
        _print(plan, recipe, overrides, log, report, samples=limit is not None)
    raise SystemExit(report.exit_status)


def _as_json(report: RunReport) -> dict[str, object]:
    return {
        "outcome": report.outcome,
        "reason": report.reason,
        "run_id": report.run_id,
        "seconds": round(report.seconds, 3),
        "cost": report.cost,
        "warnings": list(report.warnings),
        "stuck": [stuck.to_json() for stuck in report.stuck],
        "sources": {
            **{source.name: _source_as_json(source) for source in report.sources},
            **{
                name: {"rows": r.chunks, "documents": r.documents, "new": r.new}
                for name, r in report.indexes.items()
            },
        },
        **report.counts,
    }


def _source_as_json(source: IngestedSource) -> dict[str, object]:
    return {
        "rows": source.rows,
        **source.changes._asdict(),
        **({"left_out": source.left_out} if source.left_out else {}),
        **({"unread": source.unread} if source.unread else {}),
    }


_WORDS = {
    "finished": "Done",
    "limited": "Done as far as asked",
    "interrupted": "Interrupted",
    "out_of_budget": "Stopped",
    "short": "Quotas not met",
    "stuck": "Stopped",
    "failed": "Failed",
}


def _print(
    plan: Plan, recipe: Path, overrides: Sequence[str], log: Path, report: RunReport, *, samples: bool
) -> None:
    from synth.base.display import quoted
    from synth.cli.output import duration, plural, print_stuck, table
    from synth.store.dataset.inputs.sources import left_out_in_words, unread_in_words
    from synth.store.log.served import in_words

    counts = report.counts
    terminal.say(f"{_WORDS[report.outcome]} in {duration(report.seconds)}: {report.reason}.", "")
    terminal.block(
        table(
            ["conversation", "quota", "completed", "from the log", "abandoned", "pending"],
            [
                [name, c["quota"], c["completed"], c["found"], c["abandoned"], c["pending"]]
                for name, c in counts["cohorts"].items()
            ],
        )
    )
    for name, c in counts["cohorts"].items():
        if gone := c.get("forgotten"):
            terminal.say(
                f"  {plural(gone, 'sample')} of `{name}` {'is' if gone == 1 else 'are'} forgotten and not "
                "made again; a larger count makes others"
            )
    for source in report.sources:
        found = source.changes.in_words() or "all in the log before"
        terminal.say(f"  source {source.name}: {plural(source.rows, 'row')}, {found}")
        if source.left_out:
            terminal.say(f"    left out: {plural(source.left_out['rows'], 'row')}")
            for row in left_out_in_words(source.left_out):
                terminal.say(f"      {row}")
        if source.unread:
            terminal.say(f"    not read: {unread_in_words(source.unread)}")
        for warning in source.warnings:
            terminal.tell(f"warning: {warning}")
    for name, index in report.indexes.items():
        found = f"{index.new:,} documents new" if index.new else "nothing new"
        passages = plural(index.chunks, "passage")
        terminal.say(f"  source {name}: {plural(index.documents, 'document')}, {passages}, {found}")
        for warning in index.warnings:
            terminal.tell(f"warning: {warning}")
    steps = [s for s in counts["steps"] if s["issued"] or s["reused"]]
    if steps:
        terminal.say()
        terminal.block(
            table(
                ["step", "model", "tries", "failed", "answers", "reused", "rejected", "accepted", "tokens"],
                [
                    [
                        f"{s['cohort']}.{s['step']}",
                        s["model"],
                        s["issued"],
                        s["failed"],
                        s["completed"],
                        s["reused"],
                        s["rejected"],
                        s["accepted"],
                        s["prompt_tokens"] + s["completion_tokens"],
                    ]
                    for s in steps
                ],
                left=2,
            )
        )
    if counts["failures"]:
        said = counts["words"]
        told = [f"{name} {n:,} ({quoted(said[name], 80)})" for name, n in counts["failures"].items()]
        terminal.say("", "  failed tries: " + ", ".join(told))
    for title, found in (
        ("rejected by", counts["rejections"]),
        ("abandoned for", counts["abandonments"]),
    ):
        if found:
            terminal.say("", f"  {title}: " + ", ".join(f"{name} {n:,}" for name, n in found.items()))
    for s in steps:
        if len(rounds := s.get("accepted_by_round", ())) > 1:
            counted = ", ".join(f"{n:,} at attempt {number}" for number, n in enumerate(rounds, 1) if n)
            terminal.say("", f"  {s['cohort']}.{s['step']} accepted: {counted}")
    for warning in in_words(counts.get("served", {})):
        terminal.tell(f"warning: {warning}")
    _print_money(report)
    if samples:
        from synth.cli.rows import print_samples

        # What is stuck shows what it lost itself.
        print_samples(plan, log, report.run_id, lost=not report.stuck)
    pending = sum(c["pending"] for c in counts["cohorts"].values())
    print_stuck(report.stuck)
    terminal.say()
    if report.outcome in ("finished", "limited") and not pending:
        partial = " --partial" if report.outcome == "limited" else ""
        given = "".join(f" --set {shlex.quote(each)}" for each in overrides)
        path = shlex.quote(str(recipe))
        terminal.say(f"Next: synth materialize {path}{given}{_log_option(log)}{partial}")
    elif report.outcome != "short":
        terminal.say(f"{plural(pending, 'sample')} pending; the same command goes on from here.")


def _print_money(report: RunReport) -> None:
    """What each model took and cost, whose prices those are, and what is not known but counted."""
    from synth.cli.output import money, plural, table

    models = report.counts["models"]
    told = [m for m in models if m["prices"] or m["estimated"] or m["cached_tokens"] or m["reasoning_tokens"]]
    if not told:
        return
    terminal.say()
    terminal.block(
        table(
            ["model", "tokens in", "cached", "tokens out", "reasoning", "money"],
            [
                [
                    m["model"],
                    *(m[name] for name in ("prompt_tokens", "cached_tokens")),
                    *(m[name] for name in ("completion_tokens", "reasoning_tokens")),
                    money(None if m["cost"] is None else m["cost"] + m["lost_cost"]),
                ]
                for m in models
            ],
        )
    )
    for m in models:
        if m["prices"]:
            terminal.say(f"  `{m['model']}`: prices by {m['prices']}")
        if m["lost_cost"]:
            terminal.say(
                f"  `{m['model']}`: {money(m['lost_cost'])} of it is what {plural(m['lost'], 'lost answer')} "
                "can have cost at most"
            )
        if m["estimated"]:
            terminal.say(
                f"  `{m['model']}`: the service did not count the tokens of "
                f"{plural(m['estimated'], 'answer')}; they are estimated"
            )
    if report.cost:
        terminal.say(f"  money spent: {money(report.cost)}")


def _log_option(log: Path) -> str:
    return "" if log == Path("synth.duckdb") else f" --log {shlex.quote(str(log))}"
