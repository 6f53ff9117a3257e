"""The times that samples were lost before they ended as they did: another run tried them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from synth.compiler.plan.model import CohortPlan
from synth.store.dataset.inputs.select import completed, stream
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.payloads import EndedEitherWay, MarkedAttempt, RejectedAttempt

# The end of a sample: the seq of the event, the sample's name, and the payload.
End = tuple[int, str, EndedEitherWay]


class Losses:
    """The losses of samples of a lineage that ended more than once, save those that are forgotten."""

    def __init__(self, snapshot: LogSnapshot, config_hash: str) -> None:
        self._snapshot = snapshot
        rows = snapshot.cursor().execute(
            f"""SELECT sample_id, coalesce({payload_sql.INPUTS}, '') AS inputs,
                      list(seq ORDER BY seq) FILTER (WHERE kind = ?)
                FROM events WHERE kind IN (?, ?) AND seq < ? AND ({payload_sql.LINEAGE}) = ?
                GROUP BY ALL HAVING count(*) > 1""",
            [
                Kind.SAMPLE_ABANDONED.value,
                Kind.SAMPLE_ABANDONED.value,
                Kind.SAMPLE_COMPLETED.value,
                snapshot.events,
                config_hash,
            ],
        )
        gone = snapshot.forgotten.events
        self._seqs: Mapping[tuple[str, str], Sequence[int]] = {
            (name, inputs): [seq for seq in seqs if seq not in gone]
            for name, inputs, seqs in stream(rows)
            if seqs
        }

    def has(self, name: str, inputs: str) -> bool:
        """Whether a sample was lost and ended once more."""
        return (name, inputs) in self._seqs

    def before(self, ends: Sequence[End]) -> Iterator[list[EndedEitherWay]]:
        """For each of some ends the losses of its sample before it, in order."""
        found = [self._earlier(name, payload.get("inputs", ""), seq) for seq, name, payload in ends]
        read = completed(self._snapshot.cursor(), [seq for seqs in found for seq in seqs])
        for seqs in found:
            yield [next(read)[1] for _ in seqs]

    def tried(
        self, cohort: CohortPlan, step: str, name: str, inputs: str, seq: int
    ) -> list[tuple[int, int | None]]:
        """The round and the call of each attempt at a step that is told of before an end of its sample.  No
        call is told of those that other values came before."""
        earlier = self._earlier(name, inputs, seq)
        if not earlier:
            return []
        ended, *lost = (payload for _, payload in completed(self._snapshot.cursor(), [seq, *earlier]))
        names = [each.name for each in cohort.steps]
        found: list[tuple[int, int | None]] = []
        for payload in lost:
            had, has = payload.get("values", {}), ended.get("values", {})
            same = all(had[each] == has.get(each) for each in names[: names.index(step)] if each in had)
            told: list[RejectedAttempt | MarkedAttempt] = [
                *payload.get("rejected", {}).get(step, ()),
                *payload.get("attempts", {}).get(step, ()),
            ]
            found += [(each["attempt"], each["call"] if same else None) for each in told]
        return found

    def _earlier(self, name: str, inputs: str, seq: int) -> list[int]:
        return [each for each in self._seqs.get((name, inputs), ()) if each < seq]
