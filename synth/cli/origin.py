"""Whose samples a command works on, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan
    from synth.store.dataset.inputs.select import WrittenBy
    from synth.store.log.log import Log


class Origin(NamedTuple):
    """Who wrote samples, in a line, empty where nobody was asked; and a clause where they are simulated and
    nobody said that they were meant."""

    line: str
    warning: str = ""


def told_origin(plan: Plan, log: Log, written_by: WrittenBy, as_of: int | None = None) -> Origin:
    """Who wrote the samples of a plan's conversations, and whether the log has others' as well."""
    from synth.cli.output import plural
    from synth.store.dataset.inputs.select import config_hash_of, other_config_hashes, told_models

    cursor, events = log.cursor(), log.next_seq if as_of is None else as_of + 1
    found: dict[str, Any] = {}
    others = 0
    for cohort in plan.cohorts:
        config_hash, models = config_hash_of(plan, cohort, cursor, events, written_by)
        found.update(models)
        others = max(others, other_config_hashes(plan, cohort, cursor, events, config_hash))
    if not found:
        return Origin("")
    line = f"Written by {told_models(found)}"
    if not others:
        return Origin(line)
    which = "as asked for" if written_by else "the last run"
    warning = ""
    if not written_by and any(identity["backend"] == "simulated" for identity in found.values()):
        warning = (
            "the last run was a simulation, and so is this; the log has answers of other models as well: run "
            "with them again, or choose them with --model"
        )
    return Origin(
        f"{line}: {which}; the log has samples by {plural(others, 'other choice')} of models, "
        "and --model, --pocket or --simulate choose",
        warning,
    )
