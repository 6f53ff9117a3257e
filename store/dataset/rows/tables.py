"""What was read from outside of the rows and passages that an export's samples are made of, and which samples
were not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import ExportPlan
from synth.store.dataset.inputs.filter import Kept
from synth.store.dataset.inputs.select import columns
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.losses import Losses
from synth.store.dataset.rows.rejected import ends


def tables(snapshot: LogSnapshot, export: ExportPlan) -> dict[str, dict[str, Any]]:
    """By name, the sources that the conversations behind an export are over, in the plan's order."""
    behind = set(_behind(snapshot.plan, export.source))
    return {
        source.name: said_of(snapshot.kept(source.name))
        for source in snapshot.plan.sources
        if source.name in behind
    }


def said_of(kept: Kept) -> dict[str, Any]:
    """What a manifest says of the rows of a source, whoever takes them."""
    version = kept.version
    return {
        "version": version.version,
        "read": kept.read,
        "kept": len(kept.seqs),
        "dropped": dict(kept.dropped),
        **({"forgotten": kept.forgotten} if kept.forgotten else {}),
        # Said where there is something to say: manifests of older logs stay as they are.
        **({"left_out": version.left_out} if version.left_out else {}),
        **({"unread": version.unread} if version.unread else {}),
    }


def dropped(snapshot: LogSnapshot, export: ExportPlan) -> dict[str, dict[str, int]]:
    """Of each conversation behind an export that has a `keep`, by name, how many of its finished samples that
    refused, by check."""
    behind = set(_behind(snapshot.plan, export.source))
    found: dict[str, dict[str, int]] = {}
    for cohort in snapshot.plan.cohorts:
        if not cohort.keep or cohort.name not in behind:
            continue
        config_hash = snapshot.selection(cohort.name).config_hash
        losses = Losses(snapshot, config_hash)
        lost = ends(snapshot, cohort, config_hash, losses, given_up=True)
        check = f"json_extract_string(payload, '$.rejected.{cohort.kept.name}[0].check')"
        counts = Counter(check for _, check in columns(snapshot.cursor(), lost, check) if check is not None)
        found[cohort.name] = {str(check): number for check, number in sorted(counts.items())}
    return found


def _behind(plan: Plan, name: str) -> Iterator[str]:
    """What that which is called so is made of: conversations, and the sources whose rows they are over."""
    for mix in plan.mixes:
        if mix.name == name:
            for part in mix.parts:
                for source in part.sources:
                    yield from _behind(plan, source)
    for preference in plan.preferences:
        if preference.name == name:
            yield from _behind(plan, preference.source)
    for cohort in plan.cohorts:
        if cohort.name != name:
            continue
        yield name
        yield from (dealt.table for dealt in cohort.dealt if dealt.table)
        if cohort.rows is not None:
            if cohort.rows.kind == "source":
                yield cohort.rows.table
            else:
                yield from _behind(plan, cohort.rows.table)
