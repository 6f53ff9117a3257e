"""A plan's steps as a picture: a Mermaid flowchart."""

from __future__ import annotations

from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.stdlib.render import references


def mermaid(plan: Plan) -> str:
    """One subgraph a conversation; an arrow from each step to those that need it, and from what
    is made to where it is written."""
    lines = ["flowchart TD"]
    for cohort in plan.cohorts:
        table = cohort.rows
        how_many = f"each of {table.table}" if cohort.each and table is not None else f"{cohort.quota:,}"
        lines.append(f'  subgraph {cohort.name}["{cohort.name}: {how_many}"]')
        drawn = [*(axis.name for axis in cohort.axes), *(draw.name for draw in cohort.draws)]
        lines += [f"    {cohort.name}_{name}([{name}])" for name in drawn]
        lines += [f"    {_node(cohort.name, step, step.name in cohort.train_on)}" for step in cohort.steps]
        for step in cohort.steps:
            lines += [f"    {cohort.name}_{need} --> {cohort.name}_{step.name}" for need in step.needs]
            quoted = {name for t in (step.value, step.system, step.prompt) for name in references(t)}
            lines += [f"    {cohort.name}_{n} -.-> {cohort.name}_{step.name}" for n in drawn if n in quoted]
        lines.append("  end")
        if table is not None:
            lines.append(f"  {table.table} --> {cohort.name}")
    for source in plan.sources:
        lines.append(f'  {source.name}[("{source.name}<br/>{source.reader.name}")]')
    for pair in plan.preferences:
        lines.append(f'  {pair.name}{{{{"{pair.name}: {pair.quota or "all"} pairs"}}}}')
        lines.append(f"  {pair.source} --> {pair.name}")
    for mix in plan.mixes:
        lines.append(f'  {mix.name}{{{{"{mix.name}"}}}}')
        lines += [
            f"  {source} -- {mix.share(part)} --> {mix.name}" for part in mix.parts for source in part.sources
        ]
    for export in plan.exports:
        lines.append(f'  export_{export.name}[/"{export.to}"/]')
        lines.append(f"  {export.source} --> export_{export.name}")
    return "\n".join(lines)


def _node(cohort: str, step: StepPlan, trained: bool) -> str:
    who = step.model or (step.call.name if step.call is not None else "composed")
    label = f"{step.name}<br/>{step.role or 'step'} by {who}" + (" *" if trained else "")
    if step.tools:
        label += f"<br/>may call {', '.join(tool.name for tool in step.tools)}"
    return f'{cohort}_{step.name}["{label}"]'
