"""Where a text is left that was to be forgotten: in names, by which the rest of a log is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from synth.store.forget.search import Texts
from synth.store.log.events import Kind

# What a text is the name of, by the field that has it, and by the one whose fields have such names.
_NAMED = {"cohort": "conversation", "step": "step", "model": "model", "source": "source", "check": "check"}
_NAMING = {
    **dict.fromkeys(("lineages", "settings", "cohorts"), "conversation"),
    **dict.fromkeys(("values", "thoughts", "rejected", "attempts", "calls"), "step"),
    "prices": "model",
    "models": "model",
    "sources": "source",
    "cell": "axis",
}
# What is written of a forgetting itself: hashes and numbers.
_RECORDS = (Kind.SAMPLE_FORGOTTEN.value, Kind.LOG_REWRITTEN.value)


def remains(texts: Texts, kind: str, step: str | None, model: str | None, payload: str) -> set[str]:
    """What any of some texts is left as in an event: `the name of a step`, or where it stands."""
    if kind in _RECORDS:
        return set()
    places = {
        f"the name of a {what}"
        for what, name in (("step", step), ("model", model))
        if texts.stand_in(name or "")
    }
    if texts.stand_in(payload):
        places |= set(_places(texts, kind, json.loads(payload))) or {f"the form of `{kind}`"}
    return places


def _places(texts: Texts, kind: str, payload: dict[str, Any]) -> Iterator[str]:
    pending: list[tuple[str, Any]] = [("", payload)]
    while pending:
        at, item = pending.pop()
        if isinstance(item, dict):
            for name, inner in item.items():
                if texts.stand_in(name):
                    yield _named(_NAMING.get(at), f"the name of a field of `{kind}`")
                pending.append((name, inner))
        elif isinstance(item, list):
            pending += [(at, inner) for inner in item]
        elif texts.stand_in(item if isinstance(item, str) else json.dumps(item)):
            yield _named(_NAMED.get(at), f"`{at}` of `{kind}`")


def _named(what: str | None, otherwise: str) -> str:
    return otherwise if what is None else f"the name of a{'n' * (what == 'axis')} {what}"
