"""What trainers have to be told, so that they train on the turns that are marked and on no others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from synth.compiler.bind.declarations.exports import FORMS
from synth.compiler.plan.outputs import ExportPlan

# The columns of rows that a trainer compares, by its method.
_COMPARED = {
    "preference": ("DPO", ("chosen", "rejected")),
    "unpaired": ("KTO", ("completion",)),
    "rejected": ("KTO", ("completion",)),
}
# What has `datasets` read and write numbers as Python does.
EXACTLY = (
    "import json, pandas; pandas.io.json.ujson_loads, pandas.io.json.ujson_dumps = json.loads, json.dumps"
)


class CallCounts:
    """Rows that call tools and of which trainers or readers make something else than one may think."""

    def __init__(self, export: ExportPlan) -> None:
        # In the forms of turns calls are texts.
        lists = () if export.type.startswith("sharegpt") else (*FORMS[export.type], "traces", "tools")
        own = {each if isinstance(each, str) else each.name for each in export.columns}
        self._lists = [name for name in lists if name not in (*own, "responses", "marks")]
        self._compared = _COMPARED.get(export.type, ("", ()))[1]
        self._counts = Counter[str]()

    def see(self, line: str) -> None:
        row = json.loads(line)
        self._counts["decimals"] += any(_has_decimal(row.get(name)) for name in self._lists)
        compared = (each for name in self._compared for each in row[name])
        self._counts["results"] += any(each["role"] == "tool" for each in compared)

    @property
    def found(self) -> dict[str, int]:
        """How many rows have `decimals` in calls or tools, and `results` of tools in what is compared; what
        none has is not there."""
        return {name: count for name, count in sorted(self._counts.items()) if count}


def _has_decimal(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_decimal, value.values()))
    return any(map(_has_decimal, value)) if isinstance(value, list) else isinstance(value, float)


def misread(export: ExportPlan, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Clauses on rows of which trainers or readers make something else than one may think."""
    calls = manifest.get("calls", {})
    if count := calls.get("results"):
        method = _COMPARED[export.type][0]
        yield (
            f"TRL's {method}Trainer trains on what tools give too, which stands in what is compared of "
            f"{_rows(count)}: it has no option against that, and `prompt_completion` has no such rows"
        )
    if count := calls.get("decimals"):
        yield (
            f"`load_dataset` changes some decimals in calls or tools, which {_rows(count)} "
            f"{'has' if count == 1 else 'have'}: run `{EXACTLY}` before it, which keeps them"
        )


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


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


def calls_told(export: ExportPlan, manifest: Mapping[str, Any]) -> str:
    """How rows tell of calls of tools, and who reads it, in sentences.  `manifest` is that of the dataset."""
    more = (f"  {told[0].upper()}{told[1:]}." for told in misread(export, manifest))
    return _calls_told(export) + "".join(more)


def _calls_told(export: ExportPlan) -> str:
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
