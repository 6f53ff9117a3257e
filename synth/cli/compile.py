from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.cli import terminal
from synth.cli.options import (
    compile_recipe,
    json_option,
    load_settings,
    model_options,
    recipe_argument,
    set_option,
)
from synth.cli.reading import reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synth.compiler.plan.model import CohortPlan, Plan
    from synth.compiler.plan.steps import StepPlan
    from synth.compiler.plan.tables.draws import DrawPlan
    from synth.runtime.run.preview import StepCost
    from synth.runtime.settings import Settings
    from synth.runtime.sources.counts import RowCount


@click.command(short_help="Turn a recipe into a plan and say what it will cost.")
@recipe_argument
@set_option
@click.option("--log", type=click.Path(path_type=Path), help="Count only what this log does not hold yet.")
@model_options
@click.option("--limit", type=click.IntRange(1), help="Count only this many samples of each conversation.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan as JSON here."
)
@click.option("--graph", is_flag=True, help="Print the steps as a Mermaid flowchart instead.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path | None,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    limit: int | None,
    output: Path | None,
    graph: bool,
    as_json: bool,
) -> None:
    """Turn a recipe into a plan and say what it will cost.

    Calls are counted exactly, without retries.  With --log, the answers that the log holds are
    not counted, and tokens are the means of its earlier calls.  Prices are those of synth.toml,
    else of the list of known models' prices that comes with the hosted backends.  With --limit, it is
    what `synth run --limit` takes; such a run makes at most ten times these calls and 100 more.
    """
    from synth.base.errors import ConfigError
    from synth.base.leftovers import write_whole
    from synth.compiler.graph import mermaid
    from synth.runtime.run.preview import estimate, preview

    # A plan that is kept or compared with a log must be the one that will run.
    plan = compile_recipe(recipe, overrides, lenient=log is None and output is None, files=True)
    settings = load_settings(recipe, plan, models, pocket, simulate)
    for warning in settings.check(plan):
        terminal.tell(f"warning: {warning}")
    if graph:
        terminal.block(mermaid(plan))
        return
    if log is not None:
        with reading(log) as opened:
            foreseen = preview(plan, settings, opened, limit)
        costs, counted = foreseen.costs, foreseen.rows
        for warning in foreseen.warnings:
            terminal.tell(f"warning: {warning}; `synth run` stops there")
    else:
        counted = _counted(plan)
        costs = estimate(plan, settings, limit, _numbers(counted))
    if output is not None:
        try:
            write_whole(output, plan.to_json().encode())
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        terminal.as_json(_as_json(plan, costs, _numbers(counted)))
    else:
        _print(plan, costs, counted, log, settings, limit)


def _counted(plan: Plan) -> dict[str, RowCount]:
    """How many rows there are of each source that a conversation is over, as far as it is known."""
    if not plan.tables:
        return {}
    from synth.runtime.sources.counts import count_rows

    return {name: count_rows(plan, plan.source(name)) for name in sorted(plan.tables)}


def _numbers(counted: Mapping[str, RowCount]) -> dict[str, int | None]:
    return {name: count.rows for name, count in counted.items()}


def _as_json(plan: Plan, costs: list[StepCost], rows: Mapping[str, int | None]) -> dict[str, object]:
    from synth.runtime.money.quotas import expected_quotas

    quotas = expected_quotas(plan, rows)
    return {
        "plan_hash": plan.plan_hash,
        "recipe": plan.recipe,
        "cohorts": {cohort.name: _cohort_as_json(cohort, quotas, rows) for cohort in plan.cohorts},
        "steps": [
            {
                "cohort": cost.cohort,
                "step": cost.step,
                "model": cost.model,
                "calls": cost.new,
                "reused": cost.reused,
                "prompt_tokens": round(cost.new * cost.prompt_tokens),
                "completion_tokens": round(cost.new * cost.completion_tokens),
                "measured": cost.measured,
                "most_calls": cost.most,
                "cost": cost.cost,
                "prices": cost.prices,
            }
            for cost in costs
        ],
        "calls": sum(cost.new for cost in costs),
    }


def _cohort_as_json(
    cohort: CohortPlan, quotas: Mapping[str, int], rows: Mapping[str, int | None]
) -> dict[str, object]:
    table = cohort.rows
    over = {} if table is None else {"over": table.table, "rows": rows.get(table.table)}
    return {"quota": quotas[cohort.name], **over}


def _print(
    plan: Plan,
    costs: list[StepCost],
    counted: Mapping[str, RowCount],
    log: Path | None,
    settings: Settings,
    limit: int | None,
) -> None:
    from synth.cli.output import money, plural, table
    from synth.compiler.plan.allot import largest_remainder
    from synth.compiler.plan.strata import member_counts
    from synth.runtime.events.progress import USUAL_LOG
    from synth.runtime.money.quotas import expected_quotas

    quotas = expected_quotas(plan, _numbers(counted))
    terminal.say(f"{plan.recipe}, plan {plan.plan_hash[:12]}")
    for cohort in plan.cohorts:
        grid = " x ".join([*(str(len(axis.members)) for axis in cohort.axes), f"{cohort.times:,}"])
        shape = f" ({grid})" if cohort.axes else ""
        if cohort.rows is not None:
            shape = f" ({grid} a row)" if cohort.axes or cohort.times > 1 else ""
        terminal.say("", f"{cohort.name}: {plural(quotas[cohort.name], 'conversation')}{shape}")
        if cohort.rows is not None:
            terminal.say(f"  over {cohort.rows.name}: {_rows_of(plan, cohort, counted)}")
            if quotas[cohort.name] < cohort.quota:
                missing = f"{quotas[cohort.name]:,} of the {cohort.quota:,} that are asked for"
                terminal.say(f"  {missing}: there are no more; add to them, or lower the count")
        for axis in cohort.axes:
            terminal.say(f"  over {axis.name}: {', '.join(member.label for member in axis.members)}")
        for draw in cohort.draws:
            if draw.spread is not None and len(draw.members) > 12:
                what = "parts, equally likely" if draw.in_parts else "values"
                terminal.say(f"  draw {draw.name}: {draw.spread.text}, {len(draw.members)} {what}")
                continue
            weights = [member.weight for member in draw.members]
            counts = (
                member_counts(plan, cohort, draw)
                if cohort.rows is None
                else largest_remainder(weights, quotas[cohort.name])
            )
            shown = [f"{m.label} {n:,}" for m, n in zip(draw.members, counts, strict=True)]
            more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
            terminal.say(f"  draw {draw.name}: {', '.join(shown[:12])}{more}{_in_rows(plan, cohort, draw)}")
        for dealt in cohort.dealt:
            what = f"items of `{'.'.join(dealt.of)}`" if dealt.of else f"rows of {dealt.table}"
            terminal.say(
                f"  draw {dealt.name}: {what}{'' if dealt.count is None else f', {dealt.count} at once'}"
            )
        for step in cohort.steps:
            if said := _chosen(step):
                terminal.say(f"  {step.name}: {said}")
    _print_rest(plan)
    priced = any(cost.cost is not None for cost in costs)
    header = ["step", "model", "calls", *(["in the log"] if log else []), "tokens in", "tokens out"]
    rows: list[list[object]] = [
        [
            f"{cost.cohort}.{cost.step}",
            cost.model,
            cost.new,
            *([cost.reused] if log else []),
            _tokens(cost.new * cost.prompt_tokens, cost.measured),
            _tokens(cost.new * cost.completion_tokens, cost.measured),
            *([money(cost.cost)] if priced else []),
        ]
        for cost in costs
    ]
    terminal.say()
    terminal.block(table([*header, *(["cost"] if priced else [])], rows, left=2))
    total = sum(cost.new for cost in costs)
    line = f"{plural(total, 'call')} to make" + (f" with --limit {limit}" if limit is not None else "")
    if priced:
        line += f", about {money(sum(cost.cost or 0 for cost in costs))} before retries"
        most = sum(cost.cost * cost.most / cost.new for cost in costs if cost.cost)
        if round(most, 4) > round(sum(cost.cost or 0 for cost in costs), 4):
            line += f" and {money(most)} with every one of them"
    everything = log is not None and not total and any(cost.reused for cost in costs)
    terminal.say("", line + (": the log holds every answer." if everything else "."))
    _print_prices(plan, costs, settings)
    if log is None and total and Path(USUAL_LOG).is_file():
        terminal.say(f"`--log {USUAL_LOG}` counts only what that log does not hold yet.")


def _rows_of(plan: Plan, cohort: CohortPlan, counted: Mapping[str, RowCount]) -> str:
    """What a conversation goes over, and how many there are."""
    from synth.cli.output import plural

    assert cohort.rows is not None
    table = cohort.rows
    lists = "".join(f", and each item of its `{'.'.join(each.path)}`" for each in table.lists)
    which = "each" if cohort.each else "so many"
    if table.kind == "conversation":
        known = (
            "; how long lists are is known once it runs: the figures are those of one item" if lists else ""
        )
        return f"{which} of the samples of {table.table}{lists}{known}"
    count = counted.get(table.table)
    if count is None or count.rows is None:
        return (
            f"{which} of the rows of {table.table}{lists}; how many there are is known once it is read: "
            "the figures are those of one"
        )
    told = f" ({count.told})" if count.told else ""
    return f"{which} of the {plural(count.rows, 'row')} of {table.table}{told}{lists}"


def _print_prices(plan: Plan, costs: list[StepCost], settings: Settings) -> None:
    """Whose prices these are, and whose are not known."""
    from synth.base.extras import install
    from synth.runtime.money.kept import has_list

    sources = {cost.model: cost.prices for cost in costs if cost.new}
    known = [f"`{model}` by {source}" for model, source in sources.items() if source is not None]
    if known:
        terminal.say(f"Prices: {', '.join(known)}.")
    for model in sources:
        spec = settings.spec(plan.model(model))
        if settings.unpriced(spec):
            brought = "" if has_list() else f"{install(spec.backend)} brings a list of prices, and "
            terminal.say(
                f"No price of `{model}` ({spec.backend}:{spec.id}) is known: "
                f'{brought}synth.toml can give it, [prices."{spec.id}"].'
            )


def _chosen(step: StepPlan) -> str:
    """How many answers there are to a step, who marks them and which is taken; nothing for one alone."""
    said = []
    if step.tools:
        said.append(_may_call(step))
    if step.candidates > 1:
        said.append(f"{step.candidates} candidates")
    if step.rubric is not None:
        judges = " and ".join(str(each.model) for each in step.marked_by)
        said.append(f"marked by {step.rubric.name} ({judges})")
    if step.candidates > 1:
        taken = {"best": "the best", "first": "the first", "most_common": "the most common"}
        said.append(f"{taken[step.pick.by]} of those that hold is taken")
    if step.revise is not None:
        said.append("the next attempt is shown what was refused")
    return ", ".join(said)


def _may_call(step: StepPlan) -> str:
    """Which tools a turn may call, how often, and how often the figures have it call them."""
    from synth.cli.output import plural

    names = [
        tool.name if tool.played is None else f"{tool.name} (played by {tool.played.model})"
        for tool in step.tools
    ]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    counted = "each once" if len(names) <= step.max_tool_calls else f"the first {step.max_tool_calls} once"
    most = plural(step.max_tool_calls, "call")
    return f"may call {listed}, {most} at most, and is taken to call {counted if names[1:] else 'it once'}"


def _print_rest(plan: Plan) -> None:
    lines = [
        f"{pair.name}: {pair.quota or 'all'} pairs from {pair.source}"
        + "".join(f", {step.name} by {step.model}" for step in pair.steps)
        + (f", with marks {pair.margin:g} apart at least" if pair.margin is not None else "")
        for pair in plan.preferences
    ]
    for mix in plan.mixes:
        shares = ", ".join(f"{part.name} {mix.share(part)}" for part in mix.parts)
        ordered = f", in the order {', '.join(mix.order)}" if mix.order else ""
        lines.append(f"{mix.name}: {shares}{'' if mix.whole else f', when short {mix.when_short}'}{ordered}")
    lines += [f"{source.name}: {source.type} from {source.reader.name}" for source in plan.sources]
    lines += [f"{export.name}: {export.type} of {export.source} to {export.to}" for export in plan.exports]
    if lines:
        terminal.say()
    for line in lines:
        terminal.say(line)


def _in_rows(plan: Plan, cohort: CohortPlan, draw: DrawPlan) -> str:
    """What a draw comes to in one row, where it comes to the same in all."""
    from synth.compiler.plan.strata import count_rows

    if draw.of:
        return f" (from {'.'.join(draw.of)})"
    if not cohort.axes or cohort.rows is not None:
        return ""
    found = count_rows(plan, cohort, draw)
    names = " and ".join(axis.name for axis in cohort.axes)
    if len(found) > 1:
        return f" (within one of its share in each {names})"
    return f" ({'/'.join(map(str, found[0]))} in each {names})"


def _tokens(count: float, measured: bool) -> str:
    return f"{'' if measured else '~'}{round(count):,}"
