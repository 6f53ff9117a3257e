"""What a source's `keep` lets through, decided anew at each materialization: a pure function of
the rows in the log and the checks, in row order."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.stdlib.checks.conversation import is_conversation
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.verdict import parts_of, reason_against
from synth.store.dataset.inputs.sources import SourceVersion, named_rows, source_rows
from synth.store.dataset.inputs.verdicts import FunctionGate
from synth.store.log.forgotten import forgotten_of, is_tombstone


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a source that passed, by the seq of their events and by their names as numbers, in row
    order.

    `dropped` counts the others by the check that refused them first, in the order of the checks;
    `forgotten` are those that the log has forgotten.
    """

    source: SourcePlan
    version: SourceVersion
    read: int
    seqs: array[int]
    names: array[int]
    dropped: Mapping[str, int]
    forgotten: int = 0

    def account(self) -> str:
        """What became of the rows that were read, as a clause; nothing where all were kept."""
        told = list(filter(None, [refusals(self.dropped, self.read)]))
        if self.forgotten:
            told.append(f"{self.forgotten} {'was' if self.forgotten == 1 else 'were'} forgotten")
        return "; ".join(told)


def refusals(dropped: Mapping[str, int], read: int) -> str:
    """How many of the rows that were read fell to each check, as a clause; nothing where none did."""
    refused = [f"{check} {count}" for check, count in dropped.items() if count]
    return f"{sum(dropped.values())} of {read} fell to its `keep`: {', '.join(refused)}" if refused else ""


def keep(
    source: SourcePlan,
    version: SourceVersion,
    cursor: duckdb.DuckDBPyConnection,
    functions: FunctionGate | None = None,
) -> Kept:
    """Runs a source's checks over the rows of one version; `functions` knows what Python functions said.

    The first check that refuses a row counts it, and functions stand behind the others.  `distinct` compares
    a row with those kept so far.
    """
    dropped = {_label(check): 0 for check in source.keep}
    seqs, names = array("q"), array("Q")
    read = forgotten = 0
    if not source.keep:
        # What is in the rows says nothing then, and reading them takes much longer.
        seqs, names = named_rows(cursor, version)
        gone = forgotten_of(cursor).events
        if gone:
            stay = [at for at, seq in enumerate(seqs) if seq not in gone]
            seqs, names = array("q", (seqs[at] for at in stay)), array("Q", (names[at] for at in stay))
        return Kept(source, version, version.rows, seqs, names, dropped, version.rows - len(seqs))
    for seq, name, payload, refused in _judged(source, version, cursor, functions):
        read += 1
        if payload is None:
            forgotten += 1
        elif refused is None:
            seqs.append(seq)
            names.append(int(name, 16))
        else:
            dropped[_label(refused)] += 1
    return Kept(source, version, read, seqs, names, dropped, forgotten)


def _judged(
    source: SourcePlan,
    version: SourceVersion,
    cursor: duckdb.DuckDBPyConnection,
    functions: FunctionGate | None,
) -> Iterator[tuple[int, str, Mapping[str, Any] | None, CheckPlan | None]]:
    """Each row with its payload, None where it is forgotten, and the check that refuses it."""
    gate = Gate(source, functions)
    for seq, name, payload in source_rows(cursor, version):
        if is_tombstone(payload):
            yield seq, name, None, None
        else:
            yield seq, name, payload, gate.refuses(name, payload)


class Gate:
    """The checks of one source, with what `distinct` remembers of the rows that passed.  Without `functions`
    it judges by the checks of the language alone, and `alone` each row by itself."""

    def __init__(
        self, source: SourcePlan, functions: FunctionGate | None = None, *, alone: bool = False
    ) -> None:
        self._type = source.type
        self._functions = functions
        self._checks = [
            (check, NearDuplicates(float(str(check.arguments["similarity"]))) if _many(check) else None)
            for check in source.keep
            if not check.source and not (alone and _many(check))
        ]
        self.asking = [check for check in source.keep if check.source]
        fields = source.row.fields if source.row is not None else ()
        self._absent = {name: None for name, type_ in fields if type_.optional}

    def refuses(self, name: str, payload: Mapping[str, Any]) -> CheckPlan | None:
        """The first check that refuses a row, or None where it stays."""
        if not self._checks and not self.asking:
            return None
        value, values = self.checked(payload)
        compared = []
        for check, index in self._checks:
            if index is not None:
                texts = [_text(part) for part in parts_of(value, check.of)]
                if any(index.find(text) is not None for text in texts):
                    return check
                compared.append((index, texts))
            elif reason_against(check, value, values) is not None:
                return check
        for check in self.asking if self._functions is not None else ():
            if self._functions is not None and self._functions.refuses(check, value, values):
                return check
        for index, texts in compared:
            for text in texts:
                index.keep(name, text)
        return None

    def checked(self, payload: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        """What is checked of a row, and the fields that a check may go by besides."""
        if self._type == "messages":
            return payload["messages"], {}
        values = payload["values"]
        return (values["text"] if self._type == "chunk" else values), {**self._absent, **values}


def _text(value: Any) -> str:
    """What `distinct` compares."""
    if isinstance(value, str):
        return value
    return "\n".join(_said(value)) if is_conversation(value) else canonical_json(value)


def _said(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    # A system message that all rows share would make them all alike.
    return (each["content"] for each in messages if each["role"] != "system")


def _many(check: CheckPlan) -> bool:
    return check.name == "distinct"


def _label(check: CheckPlan) -> str:
    return check.label or check.name
