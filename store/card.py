"""The dataset card: a README with front matter that dataset hubs and `load_dataset` read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from compiler.plan import Plan
from store.rows import Layout

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_TYPES = {"VARCHAR": "string", "TINYINT": "int8", "BOOLEAN": "bool"}
_WEIGHT = " (messages with `weight` 1)"


def card(plan: Plan, layout: Layout, manifest: Mapping[str, Any], example: Mapping[str, Any] | None) -> str:
    """Markdown for one export.  Text that models wrote appears fenced, never as markup."""
    export, source = layout.export, manifest["source"]
    files = {name: f for name, f in manifest["files"].items() if "split" in f}
    total = sum(f["rows"] for f in files.values())
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
        *(f"  - split: {f['split']}\n    path: {name}" for name, f in files.items()),
        "dataset_info:",
        "  features:",
        *_features(layout),
        "---",
        "",
        f"# {plan.recipe} / {export.name}",
        "",
        *([plan.docs, ""] if plan.docs else []),
        f"{total} rows of `{export.type}`, {_origin(source)}",
        "",
        *_table(
            ("split", "file", "rows", "sha256"),
            ((f["split"], name, f["rows"], f"`{f['sha256']}`") for name, f in files.items()),
        ),
    ]
    if "parts" in source:
        lines += _mix(source)
    else:
        lines += _trained(manifest)
        lines += _authors({"": manifest})
        lines += _varies({"": manifest})
    lines += _refused(manifest.get("refused", {}))
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


def _features(layout: Layout) -> Iterator[str]:
    """The columns, so that nobody has to guess their types from the first rows."""
    for name, type_ in layout.columns.items():
        # Quoted, since YAML takes names such as `on` and `no` for truth values.
        yield f"  - name: {json.dumps(name)}"
        if isinstance(type_, str):
            of = _TYPES[type_.removesuffix("[]")]
            yield f"    list: {of}" if type_.endswith("[]") else f"    dtype: {of}"
            continue
        yield "    list:"
        for field, of in type_.items():
            yield from (f"    - name: {field}", f"      dtype: {_TYPES[of]}")


def _origin(source: Mapping[str, Any]) -> str:
    """Where the rows are from, to the end of the sentence."""
    if "parts" in source:
        return f"{source['rows']} conversations mixed as `{source['mix']}`."
    if "pairs" in source:
        planned = _of(source["pairs"], source["quota"])
        left_out = f"  Left out: {source['left_out']}, for answers that are the same or empty."
        return (
            f"pairs of answers from samples of `{source['conversation']}`, paired as "
            f"`{source['preference']}`{planned}." + (left_out if source["left_out"] else "")
        )
    if "rejected" in source:
        return f"the attempts that were refused in samples of `{source['rejected']}`."
    planned = _of(source["samples"], source["quota"])
    return f"from {source['samples']} samples of `{source['conversation']}`{planned}."


def _of(there: int, quota: int | None) -> str:
    return f" (of {quota} planned)" if quota is not None and there < quota else ""


def _mix(source: Mapping[str, Any]) -> Iterator[str]:
    """Parts and places of a mix, and what is to be said of each conversation in it."""
    yield from ("## Parts", "")
    yield from _table(
        ("part", "share", "from", "rows", "of"),
        (
            (part["part"], part["share"], f"`{_name(place)}`", place["rows"], _available(place))
            for part in source["parts"]
            for place in part["places"]
        ),
    )
    places = [place for part in source["parts"] for place in part["places"]]
    for place in places:
        fell = ", ".join(f"{n} fell to `{check}`" for check, n in place.get("fell", {}).items() if n)
        if "source" in place:
            yield f"- `{place['source']}`: {place['read']} rows" + (f", {fell}" if fell else "")
    if any("source" in place for place in places):
        yield ""
    taken = [place for place in places if "conversation" in place and place["rows"]]
    conversations = {place["conversation"]: place for place in taken}
    for name, place in conversations.items():
        yield f"- trained on in `{name}`: {_turns(place)}{_WEIGHT}"
    if conversations:
        yield ""
    yield from _authors(conversations)
    yield from _varies(conversations)


def _name(place: Mapping[str, Any]) -> str:
    return str(place.get("conversation", place.get("source")))


def _available(place: Mapping[str, Any]) -> int:
    return int(place["samples"] if "conversation" in place else place["kept"])


def _trained(manifest: Mapping[str, Any]) -> Iterator[str]:
    if "trained_turns" in manifest:
        yield f"Trained on: {_turns(manifest)}{_WEIGHT}."
        yield ""


def _turns(place: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in place["trained_turns"]) or "nothing"


def _authors(things: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Who wrote what, in things by their names."""
    rows: list[Sequence[object]] = []
    for name, thing in things.items():
        for step, authors in thing["written_by"].items():
            shown = f"{name}.{step}" if name else step
            if not authors:
                rows.append((shown, "composed from the recipe", "", "", ""))
            for author in authors:
                identity = author["identity"]
                ran_as = f"{identity['backend']}:{identity['id']}"
                if identity.get("revision"):
                    ran_as += f"@{identity['revision']}"
                rows.append((shown, author["model"], ran_as, author["engine"], author["rows"]))
    if rows:
        yield from ("## Who wrote what", "")
        yield from _table(("step", "model", "ran as", "engine", "samples"), rows)


def _varies(things: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How often each member of a set is there, in things by their names."""
    rows = [
        (f"{name}.{axis}" if name else axis, label, n)
        for name, thing in things.items()
        for axis, counts in thing["counts"].items()
        for label, n in counts.items()
    ]
    if rows:
        yield from ("## What varies", "")
        yield from _table(("", "member", "samples"), rows)


def _refused(refused: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    rows = [(step, check, n) for step, counts in refused.items() for check, n in counts.items()]
    if rows:
        yield from ("## What was refused", "")
        yield from _table(("step", "check", "attempts"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table, and a blank line after it."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(_cell(str(value)) for value in row)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
