"""What a card says of candidates, marks and judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.display import plural

_PICKS = {
    "first": "the first that stands",
    "best": "the best by its marks",
    "most_common": "the most common",
}

Table = tuple[Sequence[str], list[Sequence[object]]]


def judged_tables(things: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """How answers were chosen, and what marks they got, in things by their names: the heads of tables and
    their rows."""
    chosen: list[Sequence[object]] = []
    marks: list[Sequence[object]] = []
    for thing, manifest in things.items():
        for step, found in manifest.get("judged", {}).items():
            name = f"{thing}.{step}" if thing else step
            if "candidates" in found:
                chosen.append(
                    (
                        name,
                        found["candidates"],
                        _pick(found),
                        found["answers"],
                        found["stood"],
                        _rounds(found),
                    )
                )
            for criterion, mark in found.get("marks", {}).items():
                judges = ", ".join(_judge(each) for each in found["judges"])
                scale = f"{mark['low']} to {mark['high']}"
                marks.append((name, criterion, scale, _number(mark["picked"]), _number(mark["all"]), judges))
    if chosen:
        yield ("step", "candidates a round", "chosen", "answers", "stood", "chosen in round"), chosen
    if marks:
        yield ("step", "mark", "scale", "mean of what was chosen", "mean of all marked", "by"), marks


def distances(source: Mapping[str, Any]) -> str:
    """What a card says of the marks of pairs, as sentences; nothing where marks have no part in them."""
    if "below_margin" not in source:
        return ""
    margin = source["margin"]
    apart = "  The chosen answer's marks are higher" + (f", by {margin:g} at least." if margin else ".")
    if below := source["below_margin"]:
        return f"{apart}  Left out: {plural(below, 'pair')} whose marks are less far apart."
    return apart


def _pick(found: Mapping[str, Any]) -> str:
    pick = _PICKS[found["pick"]]
    return f"{pick}, {_number(found['agreement'])} agree" if "agreement" in found else pick


def _rounds(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{number}: {count}" for number, count in found["rounds"].items())


def _judge(judge: Mapping[str, Any]) -> str:
    identity = judge["identity"]
    return (
        judge["model"] if identity is None else f"{judge['model']} ({identity['backend']}:{identity['id']})"
    )


def _number(mean: float | None) -> str:
    return "" if mean is None else f"{mean:.4g}"
