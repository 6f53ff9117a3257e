from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from synth.cli import terminal
from synth.cli.options import (
    compile_recipe,
    json_option,
    load_settings,
    log_option,
    model_options,
    recipe_argument,
    set_option,
)
from synth.cli.reading import reading


@click.command(short_help="Write the datasets of a recipe from the log.")
@recipe_argument
@set_option
@log_option
@model_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder below which exports are written; the current one by default.",
)
@click.option("--as-of", type=click.IntRange(0), metavar="SEQ", help="Let no event after this one count.")
@click.option("--partial", is_flag=True, help="Take the samples that are there when some are missing.")
@click.option("--threads", type=click.IntRange(1), help="DuckDB's threads; the bytes do not depend on them.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    out: Path,
    as_of: int | None,
    partial: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Write the datasets of a recipe from the log: the same bytes for the same plan and log.

    The samples are those of the last run; of the last one with the models that --model, --pocket or
    --simulate name, where they do.  Rows are those that a run read: where a file holds others by now, that
    is said.

    Exit status: 0 written, 1 faults, 2 usage, 3 samples or rows are missing, 5 trouble with the log.
    """
    from synth.cli.origin import told_origin
    from synth.cli.output import plural
    from synth.runtime.run.outdated import outdated
    from synth.store.dataset.materialize import materialize

    plan = compile_recipe(recipe, overrides, log=log)
    written_by = load_settings(recipe, plan, models, pocket, simulate).written_by(plan.models)
    with reading(log) as opened:
        datasets = materialize(
            plan, opened, out, as_of=as_of, partial=partial, threads=threads, written_by=written_by
        )
        origin = told_origin(plan, opened, written_by, as_of)
        other = outdated(plan, opened) if as_of is None and plan.sources else []
    for told in other:
        terminal.tell(f"warning: {told}")
    if origin.warning:
        terminal.tell(f"warning: {origin.warning}")
    if as_json:
        shown = [
            {
                "export": d.export.name,
                "folder": str(d.folder),
                "rows": d.rows,
                "missing": d.missing,
                **({"forgotten": d.forgotten} if d.forgotten else {}),
                "advice": d.advice,
                "warnings": d.warnings,
            }
            for d in datasets
        ]
        terminal.as_json(shown)
        return
    for dataset in datasets:
        for name, entry in dataset.manifest["files"].items():
            if "rows" in entry:
                terminal.say(
                    f"{dataset.folder / name}: {plural(entry['rows'], 'row')}, sha256 {entry['sha256'][:16]}"
                )
        if dataset.missing:
            terminal.tell(f"  {plural(dataset.missing, dataset.unit)} missing")
        if dataset.forgotten:
            why = "since it is forgotten" if dataset.forgotten == 1 else "since they are forgotten"
            terminal.say(f"  {dataset.forgotten:,} left out, {why}")
        for line in _shares(dataset.manifest["source"]):
            terminal.say(f"  {line}")
        if dataset.advice is not None:
            terminal.say(f"  {dataset.advice}")
        for warning in dataset.warnings:
            terminal.tell(f"  warning: {warning}")

    if origin.line:
        terminal.say(origin.line)


def _shares(source: Mapping[str, Any]) -> Iterator[str]:
    """What each part of a mix gave and what fell to a source's `keep`, how rows are labelled, or which pairs
    are none for their marks."""
    from synth.cli.output import plural

    if below := source.get("below_margin"):
        margin = source["margin"]
        near = "are no better" if margin is None else f"are less than {margin:g} apart"
        yield f"{plural(below, 'pair')} left out, whose marks {near}"
    if without := source.get("without_marks"):
        yield f"{plural(without, 'sample')} left out, without marks"
    if unread := source.get("unread"):
        yield f"{plural(unread, 'attempt')} left out, with calls that cannot be read"
    for split, labels in source.get("labels", {}).items():
        yield f"{split}: {labels['true']:,} labelled true, {labels['false']:,} labelled false"
    for part in source.get("parts", ()):
        yield f"{part['part']} {part['share']}: {part['rows']:,} of {part['available']:,}"
        for place in part["places"]:
            dropped = [f"{n:,} fell to {check}" for check, n in place.get("dropped", {}).items() if n]
            if dropped:
                yield f"  {place['source']}: {place['read']:,} rows read, {', '.join(dropped)}"
