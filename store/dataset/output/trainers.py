"""What trainers have to be told, so that they train on the turns that are marked and on no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synth.compiler.plan.outputs import ExportPlan


def advice(export: ExportPlan, manifest: Mapping[str, Any]) -> str | None:
    """One line on how a dataset's trained turns are trained on, where rows alone do not say so to
    every trainer.  `manifest` is that of the dataset."""
    if export.type not in ("messages", "sharegpt"):
        return None
    places = [place for part in manifest["source"].get("parts", ()) for place in part["places"]]
    taken = [place for place in places if place["rows"]] or [manifest]
    turns = [name for place in taken for name in place.get("trained_turns", ())]
    partly = any(place.get("untrained_turns") or place.get("partly_trained") for place in taken)
    marks = "axolotl takes `message_field_training: weight`"
    if export.type == "sharegpt":
        rule = "LLaMA-Factory trains on every `gpt` turn, with `mask_history: true` on the last alone; "
        return (rule + marks) if partly else None
    if not partly:
        others = "what users say and tools give" if any(place.get("called") for place in taken) else ""
        return (
            f"TRL trains on {others or 'what users say'} too: set `assistant_only_loss`, or export "
            "`prompt_completion`"
        )
    named = ", ".join(f"`{name}`" for name in dict.fromkeys(turns))
    trained = f"{named} alone" if named and len(taken) == 1 else "turns with `weight` 1 alone"
    return f"to train on {trained}, export `prompt_completion`: TRL reads no `weight` ({marks})"


def calls_told(export: ExportPlan) -> str:
    """How rows tell of calls of tools, and who reads it, in sentences."""
    if export.type in ("sharegpt", "sharegpt_preference"):
        return (
            "Rows call tools: `tools` has their definitions as JSON text, null where none can be called; a "
            "`function_call` is one call as JSON or a list of several, and the `observation` behind it what "
            "they gave.  What is said beside a call is in `beside`, which LLaMA-Factory does not read."
        )
    return (
        "Rows call tools: `tools` has their definitions, null where none can be called; messages call them "
        "by `tool_calls`, and those of the role `tool` behind have what each call gave, in their order.  TRL "
        "and axolotl (`type: chat_template`) read both.  The student's chat template has to take tools, and "
        "that of Llama 3.1 takes one call a message."
    )


def missing_labels(manifest: Mapping[str, Any]) -> Iterator[str]:
    """A clause on each label of unpaired rows that no row of a split has, though others are there."""
    for split, labels in manifest["source"].get("labels", {}).items():
        for label, count in labels.items():
            if not count:
                yield f"no row of {split} has the label {label}, and KTO compares rows of both"
