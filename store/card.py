"""The dataset card: a README with front matter that dataset hubs and `load_dataset` read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from compiler.plan import ExportPlan, Plan

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(
    plan: Plan, export: ExportPlan, manifest: Mapping[str, Any], example: Mapping[str, Any] | None
) -> str:
    """Markdown for one export.  Text that models wrote appears fenced, never as markup."""
    files = {f["split"]: name for name, f in manifest["files"].items()}
    rows = {f["split"]: f["rows"] for f in manifest["files"].values()}
    total = sum(rows.values())
    size = next((label for bound, label in _SIZES if total < bound), "n>1M")
    lines = [
        "---",
        f"pretty_name: {json.dumps(f'{plan.recipe} / {export.name}')}",
        f"size_categories: [{json.dumps(size)}]",
        "task_categories: [text-generation]",
        "tags: [synthetic]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(f"  - split: {split}\n    path: {name}" for split, name in files.items()),
        "---",
        "",
        f"# {plan.recipe} / {export.name}",
        "",
        *([plan.docs, ""] if plan.docs else []),
        f"{total} rows of `{export.type}`, from {manifest['source']['samples']} samples of "
        f"`{manifest['source']['conversation']}`"
        + (f" (of {manifest['source']['quota']} planned)." if _is_partial(manifest) else "."),
        "",
        "| split | file | rows | sha256 |",
        "|---|---|---|---|",
        *(
            f"| {f['split']} | {name} | {f['rows']} | `{f['sha256']}` |"
            for name, f in manifest["files"].items()
        ),
        "",
        f"Trained on: {', '.join(f'`{name}`' for name in manifest['trained_turns'])}"
        " (messages with `weight` 1).",
        "",
        "## Who wrote what",
        "",
        "| step | model | ran as | engine | samples |",
        "|---|---|---|---|---|",
        *_authors(manifest),
        "",
    ]
    if manifest["counts"]:
        lines += ["## What varies", "", "| | member | samples |", "|---|---|---|"]
        lines += [
            f"| {_cell(name)} | {_cell(label)} | {n} |"
            for name, counts in manifest["counts"].items()
            for label, n in counts.items()
        ]
        lines.append("")
    if example is not None:
        shown = json.dumps(example, ensure_ascii=False, indent=2)
        fence = "`" * (1 + max([2, *(len(run) for run in re.findall(r"`+", shown))]))
        lines += ["## One row", "", f"{fence}json", shown, fence, ""]
    log = manifest["log"]
    lines += [
        "## Where it comes from",
        "",
        f"Plan `{manifest['plan_hash']}`, the first {log['events']} events of its log "
        f"(batch {log['batch']}, chain head `{log['head']}`).  `synth verify` checks it against both; "
        "`synth show ID` tells a row's whole story.",
        "",
    ]
    return "\n".join(lines)


def _is_partial(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest["source"]["samples"] < manifest["source"]["quota"])


def _authors(manifest: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for step, authors in manifest["written_by"].items():
        if not authors:
            lines.append(f"| {step} | composed from the recipe | | | {manifest['source']['samples']} |")
        for author in authors:
            identity = author["identity"]
            ran_as = f"{identity['backend']}:{identity['id']}"
            if identity.get("revision"):
                ran_as += f"@{identity['revision']}"
            lines.append(
                f"| {step} | {author['model']} | {_cell(ran_as)} | {_cell(author['engine'])} "
                f"| {author['rows']} |"
            )
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
