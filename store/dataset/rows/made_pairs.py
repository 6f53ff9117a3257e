"""The samples that a preference made itself, which pairs are found by."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.strata import pair_id
from synth.store.dataset.inputs.select import stream
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.log import payload_sql
from synth.store.log.events import Kind

# Where there is no such sample.
NONE = -1


class MadePairs:
    """The samples that a preference made itself, by the version of the sample each is made from."""

    def __init__(self, snapshot: LogSnapshot, pairs: CohortPlan, config_hash: str | None) -> None:
        self._plan, self._pairs = snapshot.plan, pairs
        self._forgotten = snapshot.forgotten.events
        self._pending = set(snapshot.forgotten.of(config_hash, "pending", "hidden"))
        self._bases, self._seqs = self._ends(snapshot, config_hash, Kind.SAMPLE_COMPLETED, "true")
        self._lost, _ = self._ends(
            snapshot, config_hash, Kind.SAMPLE_ABANDONED, f"({payload_sql.LASTING}) IS DISTINCT FROM 'false'"
        )

    def made(self, version: str) -> int:
        """The seq of the one made from a sample, or `NONE`."""
        at = _place(self._bases, version)
        return NONE if at is None or self._seqs[at] in self._forgotten else self._seqs[at]

    def lost(self, base: str, version: str) -> bool:
        """Whether the one made from a sample was given up for reasons of its own, or is forgotten."""
        if _place(self._lost, version) is not None or _place(self._bases, version) is not None:
            return True
        return bool(self._pending) and pair_id(self._plan, self._pairs, base) in self._pending

    @staticmethod
    def _ends(
        snapshot: LogSnapshot, config_hash: str | None, kind: Kind, condition: str
    ) -> tuple[array[int], array[int]]:
        """The versions of the samples that such events are made from, as sorted numbers, and the events'
        seqs."""
        bases, seqs = array("Q"), array("q")
        rows = snapshot.cursor().execute(
            f"""SELECT xor(CAST('0x' || ({payload_sql.OF}) AS UBIGINT),
                           CAST('0x' || coalesce({payload_sql.INPUTS}, '0') AS UBIGINT)) AS base, min(seq)
                FROM events WHERE kind = ? AND seq < ? AND ({payload_sql.LINEAGE}) = ? AND {condition}
                GROUP BY base ORDER BY base""",
            [kind.value, snapshot.events, config_hash],
        )
        for base, seq in stream(rows):
            bases.append(base)
            seqs.append(seq)
        return bases, seqs


def _place(bases: array[int], name: str) -> int | None:
    number = int(name, 16)
    at = bisect_left(bases, number)
    return at if at < len(bases) and bases[at] == number else None
