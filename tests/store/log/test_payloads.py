"""Each kind has a type for its payload, which those of version 0.1.0 are of.  What runs write now is looked
at where they are tested: see who calls `kinds_in`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import is_typeddict

import pytest

from synth.store.forget.search import CONTENT
from synth.store.forget.tombstones import KEPT
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.payloads import PAYLOADS
from tests.golden.test_golden import HERE
from tests.kit.payloads import kinds_in
from tests.kit.support import ROOT


def test_every_kind_has_a_type_of_payload() -> None:
    assert set(PAYLOADS) == set(Kind)
    assert all(is_typeddict(type_) for types in PAYLOADS.values() for type_ in types)


@pytest.mark.parametrize("names", [KEPT, CONTENT], ids=["kept", "content"])
def test_what_forgetting_looks_at_are_fields_of_payloads(names: Mapping[str, Sequence[str]]) -> None:
    for kind, parts in names.items():
        known = {name for type_ in PAYLOADS[Kind(kind)] for name in type_.__annotations__}
        assert set(parts) <= known, kind


@pytest.mark.parametrize("log", sorted(HERE.glob("*.duckdb")), ids=lambda path: path.stem)
def test_payloads_of_an_earlier_version_are_of_their_types(log: Path) -> None:
    assert {"plan.registered", "run.started", "call.completed", "run.stopped"} <= kinds_in(log)


def test_sql_reads_fields_of_payloads_by_their_names() -> None:
    first = [text.split("'")[1] for name, text in vars(payload_sql).items() if name.isupper()]
    known = {name for types in PAYLOADS.values() for type_ in types for name in type_.__annotations__}
    # A payload that was forgotten says so, and is of no type.
    assert set(first) - known == {"forgotten"}
    # The one that is left is an example in the help of a command.
    own = [path for folder in ("store", "runtime", "synth/cli") for path in (ROOT / folder).rglob("*.py")]
    spelt = {path.name for path in own if re.search(r"payload ->>? '", path.read_text("utf-8"))}
    assert spelt == {"payload_sql.py", "sql.py"}
