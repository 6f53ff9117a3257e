"""The dataset card: a README with front matter that dataset hubs and `load_dataset` read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import digest
from synth.base.display import escaped_json, plural
from synth.compiler.plan.model import Plan
from synth.store.dataset.inputs.select import Models
from synth.store.dataset.inputs.sources import left_out_in_words, unread_in_words
from synth.store.dataset.output.judged import distances, judged_tables
from synth.store.dataset.output.markdown import cell, prose, table
from synth.store.dataset.output.trainers import advice, calls_told
from synth.store.dataset.rows.columns import feature
from synth.store.dataset.rows.layout import Layout, Messages

# The Hub's, up to its last: `1K<n<10K` is from a thousand rows to below ten thousand.
_BOUNDS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")

# Characters of the row on a card, which are at most four bytes each.
_LONGEST_ROW = 4000

_WEIGHT = " (messages with `weight` 1)"


def card(
    plan: Plan,
    layout: Layout,
    manifest: Mapping[str, Any],
    example: Mapping[str, Any] | None,
    models: Models = (),
) -> str:
    """Markdown for one export, whose rows came from `models`.  Text that they wrote appears fenced,
    never as markup."""
    export, source = layout.export, manifest["source"]
    files = {name: f for name, f in manifest["files"].items() if "split" in f}
    total = sum(f["rows"] for f in files.values())
    simulated = _simulation(models)
    lines = [
        "---",
        *_front_matter(plan, layout, files, simulated is not None),
        "---",
        "",
        f"# {plan.recipe} / {export.name}",
        "",
        *([simulated, ""] if simulated is not None else []),
        *([prose(plan.docs), ""] if plan.docs else []),
        f"{total} rows of `{export.type}`, {_origin(source)}",
        "",
        *table(
            ("split", "file", "rows", "sha256"),
            ((f["split"], name, f["rows"], f"`{f['sha256']}`") for name, f in files.items()),
        ),
    ]
    if forgotten := manifest.get("forgotten"):
        why = "was forgotten, since its" if forgotten == 1 else "were forgotten, since their"
        lines += [f"Left out: {forgotten} that {why} content had to be removed.", ""]
    if (told := advice(export, manifest)) is not None:
        lines += [f"{told[0].upper()}{told[1:]}.", ""]
    if layout.tools:
        lines += [calls_told(export, manifest), ""]
    if "parts" in source:
        lines += _mix(source)
    else:
        lines += _trained(manifest)
        lines += _called({"": manifest})
        lines += _authors({"": manifest})
        lines += _judged({"": manifest})
        lines += _cut({"": manifest})
        lines += _varies({"": manifest})
    lines += _tables(manifest.get("tables", {}))
    lines += _kept(manifest.get("kept", {}))
    lines += _refused(manifest.get("rejected", {}))
    if example is not None:
        shown = _row(example)
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
        *_costs(manifest.get("costs")),
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> str:
    """A row as JSON, of which a few thousand characters have to do."""
    shown = escaped_json(json.dumps(row, ensure_ascii=False, indent=2))
    if len(shown) <= _LONGEST_ROW:
        return shown
    return f"{shown[:_LONGEST_ROW]}\n... cut here: the row has {len(shown):,} characters"


def _costs(costs: Mapping[str, Any] | None) -> Iterator[str]:
    if costs is not None:
        prices = ", ".join(f"`{model}` by {cell(by)}" for model, by in costs["prices"].items())
        yield f"Money spent by the runs of this recipe: {costs['spent']:g}.  Prices: {prices}."
        yield ""


def _front_matter(
    plan: Plan, layout: Layout, files: Mapping[str, Mapping[str, Any]], simulated: bool
) -> Iterator[str]:
    """What dataset hubs and `load_dataset` read.  Its texts are quoted as JSON, which YAML takes."""
    export = layout.export
    total = sum(f["rows"] for f in files.values())
    yield f"pretty_name: {json.dumps(f'{plan.recipe} / {export.name}')}"
    if export.licence is not None:
        yield f"license: {json.dumps(export.licence)}"
    yield from _languages(export.languages)
    yield f"size_categories: [{json.dumps(size_category(total))}]"
    yield "task_categories: [text-generation]"
    yield f"tags: [synthetic{', simulated' if simulated else ''}]"
    yield from ("configs:", "- config_name: default")
    # `datasets` caches what it read under this front matter and the folder's name, so other rows
    # need another front matter.
    yield f"  description: {json.dumps(_digest(files))}"
    yield "  data_files:"
    # It refuses a split that is listed and has no rows.
    listed = {name: f for name, f in files.items() if f["rows"] or not total}
    for name, f in listed.items():
        yield from (f"  - split: {f['split']}", f"    path: {name}")
    yield from ("dataset_info:", "  features:")
    yield from _features(layout)


def _languages(languages: Sequence[str]) -> Iterator[str]:
    """The Hub's `language` is of ISO 639 codes; what else a tag says has a place of its own."""
    codes = list(dict.fromkeys(tag.split("-")[0] for tag in languages))
    if codes:
        # Quoted, since `no`, which is Norwegian, is a truth value otherwise.
        yield f"language: {json.dumps(codes)}"
    if tags := [tag for tag in languages if "-" in tag]:
        yield f"language_bcp47: {json.dumps(tags)}"


def size_category(rows: int) -> str:
    """The Hub's category of a number of rows."""
    above = max(len(str(rows)) - 3, 0)
    if above == 0:
        return f"n<{_BOUNDS[0]}"
    return f"{_BOUNDS[above - 1]}<n<{_BOUNDS[above]}" if above < len(_BOUNDS) else f"n>{_BOUNDS[-1]}"


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """One sha256 for the content of all data files."""
    return f"sha256:{digest({name: f['sha256'] for name, f in files.items()})}"


def _simulation(models: Models) -> str | None:
    """The sentence that opens a card whose rows a simulator had a hand in, or None."""
    simulated = {name for name, identity in models if identity["backend"] == "simulated"}
    if not simulated:
        return None
    if all(name in simulated for name, _ in models):
        return "This is a simulation: a simulator answered in place of every model, so it teaches nothing."
    names = ", ".join(f"`{name}`" for name in sorted(simulated))
    return f"This is in part a simulation: a simulator answered in place of {names}."


def _features(layout: Layout) -> Iterator[str]:
    """The columns, so that nobody has to guess their types from the first rows."""
    for name, type_ in layout.columns.items():
        # Quoted, since YAML takes names such as `on` and `no` for truth values.
        yield f"  - name: {json.dumps(name)}"
        if not isinstance(type_, Messages):
            yield from (f"    {line}" for line in feature(type_))
            continue
        if type_.json:
            yield f"    {'dtype' if type_.single else 'list'}: json"
            continue
        yield f"    {'struct' if type_.single else 'list'}:"
        for field, of in type_.fields.items():
            yield from (f"    - name: {field}", *(f"      {line}" for line in feature(of)))


def _origin(source: Mapping[str, Any]) -> str:
    """Where the rows are from, to the end of the sentence."""
    if "parts" in source:
        return f"{source['rows']} conversations mixed as `{source['mix']}`."
    if "pairs" in source:
        planned = _of(source["pairs"], source["quota"])
        left_out = f"  Left out: {source['left_out']}, for answers that are the same or empty."
        return (
            f"pairs of answers from samples of `{source['conversation']}`, paired as "
            f"`{source['preference']}`{planned}."
            + distances(source)
            + (left_out if source["left_out"] else "")
            + _unjudged(source)
            + _unread(source)
            + _unshown(source)
        )
    if "rejected" in source:
        return f"the attempts that were refused in samples of `{source['rejected']}`.{_unread(source)}"
    planned = _of(source["samples"], source["quota"])
    if "ranked" in source:
        without = source["without_marks"]
        bare = f"  Left out: {plural(without, 'sample')} without marks." if without else ""
        return (
            f"from {source['samples']} samples of `{source['ranked']}`{planned}: {source['responses']} "
            f"answers at `{source['step']}` (`responses`), the best first by their `marks`.{bare}"
            f"{_unshown(source)}"
        )
    if "unpaired" in source:
        true, false = (sum(each[label] for each in source["labels"].values()) for label in ("true", "false"))
        return (
            f"from {source['samples']} samples of `{source['unpaired']}`{planned}: {true} trained turns as "
            f"accepted (`label` true), and {false} attempts at them that were refused (`label` false)."
            f"{_unread(source)}"
        )
    return f"from {source['samples']} samples of `{source['conversation']}`{planned}."


def _unshown(source: Mapping[str, Any]) -> str:
    unshown = source.get("unshown", 0)
    return f"  Left out: {plural(unshown, 'sample')} whose first prompt is not known." if unshown else ""


def _unjudged(source: Mapping[str, Any]) -> str:
    number = source.get("unjudged", 0)
    return f"  Left out: {plural(number, 'attempt')} that no judge judged." if number else ""


def _unread(source: Mapping[str, Any]) -> str:
    number = source.get("unread", 0)
    return f"  Left out: {plural(number, 'attempt')} with calls that cannot be read." if number else ""


def _of(there: int, quota: int | None) -> str:
    return f" (of {quota} planned)" if quota is not None and there < quota else ""


def _mix(source: Mapping[str, Any]) -> Iterator[str]:
    """Parts and places of a mix, and what is to be said of each conversation in it."""
    yield from ("## Parts", "")
    yield from table(
        ("part", "share", "from", "rows", "of"),
        (
            (part["part"], part["share"], f"`{_name(place)}`", place["rows"], _available(place))
            for part in source["parts"]
            for place in part["places"]
        ),
    )
    places = [place for part in source["parts"] for place in part["places"]]
    for place in places:
        if "source" in place:
            yield from _read(place["source"], place, "conversation")
    if any("source" in place for place in places):
        yield ""
    taken = [place for place in places if "conversation" in place and place["rows"]]
    conversations = {place["conversation"]: place for place in taken}
    for name, place in conversations.items():
        yield f"- trained on in `{name}`: {_turns(place)}{_WEIGHT}"
    if conversations:
        yield ""
    yield from _called({_name(place): place for place in places if place["rows"]})
    yield from _authors(conversations)
    yield from _judged(conversations)
    yield from _cut(conversations)
    yield from _varies(conversations)


def _tables(read: Mapping[str, Any]) -> Iterator[str]:
    """The rows that samples are made of, in the words of a mix's sources."""
    if read:
        yield from ("## Made of", "")
        for name, place in read.items():
            yield from _read(name, place, "such row")
        yield ""


def _kept(dropped: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """How many finished samples the `keep` of each conversation refused, and by which check."""
    if dropped:
        yield from ("## What was not kept", "")
        for name, checks in dropped.items():
            parts = ", ".join(f"{n} fell to `{check}`" for check, n in checks.items())
            number = plural(sum(checks.values()), "finished sample")
            yield f"- `{name}`: its `keep` refused {number}" + (f": {cell(parts)}" if parts else "")
        yield ""


def _read(name: str, place: Mapping[str, Any], what: str) -> Iterator[str]:
    """What was read of a source, what its `keep` dropped and what could not be read."""
    dropped = ", ".join(f"{n} fell to `{check}`" for check, n in place.get("dropped", {}).items() if n)
    yield f"- `{name}`: {place['read']} rows" + (f", {dropped}" if dropped else "")
    if left_out := place.get("left_out"):
        none = f"it is no {what}" if left_out["rows"] == 1 else f"they are no {what}s"
        yield f"  - left out, since {none}: {plural(left_out['rows'], 'row')}"
        yield from (f"    - {cell(told)}" for told in left_out_in_words(left_out))
    if unread := place.get("unread"):
        yield f"  - not read: {cell(unread_in_words(unread))}"


def _name(place: Mapping[str, Any]) -> str:
    return str(place.get("conversation", place.get("source")))


def _available(place: Mapping[str, Any]) -> int:
    return int(place["samples"] if "conversation" in place else place["kept"])


def _trained(manifest: Mapping[str, Any]) -> Iterator[str]:
    if "trained_turns" in manifest:
        marked = "" if "unpaired" in manifest["source"] else _WEIGHT
        yield f"Trained on: {_turns(manifest)}{marked}."
        yield ""


def _turns(place: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in place["trained_turns"]) or "nothing"


def _called(things: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How often each tool is called, in things by their names."""
    return _counted("Tools that are called", ("tool", "calls"), things, "called")


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
                if identity.get("weights"):
                    ran_as += f"#{identity['weights'][:12]}"
                if others := author.get("served_by"):
                    ran_as += f"; answered by {_listed(others)}"
                rows.append((shown, author["model"], ran_as, author["engine"], author["rows"]))
    if rows:
        yield from ("## Who wrote what", "")
        yield from table(("step", "model", "ran as", "engine", "samples"), rows)


def _judged(things: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How answers were chosen among candidates, and their marks, in things by their names."""
    tables = list(judged_tables(things))
    if tables:
        yield from ("## How answers were judged", "")
    for head, rows in tables:
        yield from table(head, rows)


def _listed(others: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in others.items())


def _cut(things: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What was kept although it was cut at the limit of tokens, in things by their names."""
    return _counted("What was cut at the limit of tokens, and kept", ("step", "samples"), things, "cut")


def _counted(
    title: str, head: Sequence[str], things: Mapping[str, Mapping[str, Any]], key: str
) -> Iterator[str]:
    """What things count under a key, as a table; nothing where none counts any."""
    rows = [
        (f"{name}.{counted}" if name else counted, n)
        for name, thing in things.items()
        for counted, n in thing.get(key, {}).items()
    ]
    if rows:
        yield from (f"## {title}", "")
        yield from table(head, rows)


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
        yield from table(("", "member", "samples"), rows)


def _refused(refused: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    rows = [(step, check, n) for step, counts in refused.items() for check, n in counts.items()]
    if rows:
        yield from ("## What was refused", "")
        yield from table(("step", "check", "attempts"), rows)
