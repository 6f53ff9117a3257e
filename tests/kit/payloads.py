"""Whether the events of a log have payloads of their kinds' types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth.store.log.events import Kind
from synth.store.log.payloads import PAYLOADS
from tests.kit.support import query


def kinds_in(log: Path) -> set[str]:
    """The kinds of a log's events, after checking each payload: it has all that its type requires and nothing
    that its type does not know, and a tombstone has what is kept of it."""
    kinds = set()
    for kind, text in query(log, "SELECT kind, CAST(payload AS VARCHAR) FROM events"):
        payload, types = json.loads(text), PAYLOADS[Kind(kind)]
        kinds.add(kind)
        if "forgotten" in payload:
            kept = payload.keys() - {"forgotten"}
            assert any(kept <= set(type_.__annotations__) for type_ in types), (kind, payload)
        else:
            assert any(_fits(payload, type_) for type_ in types), (kind, payload)
    return kinds


def _fits(payload: Mapping[str, Any], type_: Any) -> bool:
    return set(type_.__required_keys__) <= payload.keys() <= set(type_.__annotations__)
