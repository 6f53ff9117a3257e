"""What a source's `keep` lets through, decided anew at each materialization: a pure function of
the rows in the log and the checks, in row order."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from synth.compiler.plan.model import CheckPlan, SourcePlan
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.store.dataset.inputs.sources import SourceVersion, source_rows
from synth.store.log.forgotten import is_tombstone


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a source that passed, by the seq of their events, in row order.

    `dropped` counts the others by the check that refused them first, in the order of the checks;
    `forgotten` are those that the log has forgotten.
    """

    source: SourcePlan
    version: SourceVersion
    read: int
    seqs: array[int]
    dropped: Mapping[str, int]
    forgotten: int = 0

    def account(self) -> str:
        """What became of the rows that were read, as a clause; nothing where all were kept."""
        refused = [f"{check} {count}" for check, count in self.dropped.items() if count]
        told = []
        if refused:
            fallen = sum(self.dropped.values())
            told.append(f"{fallen} of {self.read} fell to its `keep`: {', '.join(refused)}")
        if self.forgotten:
            told.append(f"{self.forgotten} {'was' if self.forgotten == 1 else 'were'} forgotten")
        return "; ".join(told)


def keep(source: SourcePlan, version: SourceVersion, cursor: duckdb.DuckDBPyConnection) -> Kept:
    """Runs a source's checks over the rows of one version.

    The first check that refuses a row counts it.  `distinct` compares a row with those kept so far.
    """
    dropped = {_label(check): 0 for check in source.keep}
    gate = _Gate(source.keep)
    seqs = array("q")
    read = forgotten = 0
    for seq, row_id, payload in source_rows(cursor, version):
        read += 1
        if is_tombstone(payload):
            forgotten += 1
            continue
        refused = gate.refuses(row_id, payload["messages"])
        if refused is None:
            seqs.append(seq)
        else:
            dropped[_label(refused)] += 1
    return Kept(source, version, read, seqs, dropped, forgotten)


class _Gate:
    """The checks of one source, with what `distinct` remembers of the rows that passed."""

    def __init__(self, checks: tuple[CheckPlan, ...]) -> None:
        self._checks = [
            (check, NearDuplicates(float(str(check.arguments["similarity"]))) if _many(check) else None)
            for check in checks
        ]

    def refuses(self, name: str, messages: Sequence[Mapping[str, Any]]) -> CheckPlan | None:
        """The first check that refuses a conversation, or None where it stays."""
        text = "\n".join(_said(messages)) if any(index for _, index in self._checks) else ""
        for check, index in self._checks:
            if index is not None:
                if index.find(text) is not None:
                    return check
            elif run_check(check.name, check.arguments, messages) is not None:
                return check
        for _, index in self._checks:
            if index is not None:
                index.keep(name, text)
        return None


def _said(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    # A system message that all rows share would make them all alike.
    return (each["content"] for each in messages if each["role"] != "system")


def _many(check: CheckPlan) -> bool:
    return check.name == "distinct"


def _label(check: CheckPlan) -> str:
    return check.label or check.name
