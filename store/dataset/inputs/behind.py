"""What the rows that samples of a dataset are made of stand for: the outside of their environments."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synth.compiler.plan.conditions import there
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.tables.dealt import item_of
from synth.store.dataset.inputs.environment import Environment
from synth.store.dataset.inputs.select import completed, sample_ids
from synth.store.log.payloads import EndedEitherWay

if TYPE_CHECKING:
    from synth.store.dataset.inputs.snapshot import LogSnapshot


class Behind:
    """What samples of a conversation over a table are made of: rows of a source, or samples of another
    conversation."""

    def __init__(self, snapshot: LogSnapshot, cohort: CohortPlan) -> None:
        self._snapshot, self._axis = snapshot, cohort.rows
        self._parent = snapshot.plan.parent_of(cohort)
        self._dealt = [
            (dealt, snapshot.tables.drawn(cohort, dealt) if dealt.table else None) for dealt in cohort.dealt
        ]
        self._table = None
        if self._parent is None and cohort.rows is not None:
            self._table = snapshot.tables.of(cohort.name)
        elif self._parent is not None:
            self._environment = Environment(self._parent)
            seqs = snapshot.selection(self._parent.name).seqs
            names = sample_ids(snapshot.cursor(), seqs)
            pairs = sorted((int(name, 16), seq) for name, seq in zip(names, seqs, strict=True))
            self._names = array("Q", (name for name, _ in pairs))
            self._seqs = array("q", (seq for _, seq in pairs))

    def rows(self, payloads: Sequence[EndedEitherWay]) -> Sequence[Mapping[str, Any]]:
        """What a sample's row, the items of its lists and what it drew from tables stand for by name;
        nothing of what the table has no more."""
        cells = [payload["cell"] for payload in payloads]
        found = self._over(payloads, cells)
        for dealt, table in self._dealt:
            if table is None:
                for here, cell in zip(found, cells, strict=True):
                    here[dealt.name] = item_of(there(dealt.of, here), cell[dealt.name])
                continue
            names = [cell[dealt.name].split("-") for cell in cells]
            rows = table.named(name for some in names for name in some)
            for here, some in zip(found, names, strict=True):
                values = [rows[name] for name in some if name in rows]
                if dealt.count is not None:
                    here[dealt.name] = values
                elif values:
                    here[dealt.name] = values[0]
        return found

    def _over(
        self, payloads: Sequence[EndedEitherWay], cells: Sequence[Mapping[str, str]]
    ) -> list[dict[str, Any]]:
        if self._axis is None:
            return [{} for _ in payloads]
        if self._table is not None:
            return self._table.found(cells)
        assert self._parent is not None
        above = self._above(payloads)
        outside = self._snapshot.rows_of(self._parent, list(above.values()))
        environments = {
            name: self._environment.of(payload, rows)
            for (name, payload), rows in zip(above.items(), outside, strict=True)
        }
        axis = self._axis
        found: list[dict[str, Any]] = []
        for cell in cells:
            here: dict[str, Any] = {}
            if cell[axis.name] in environments:
                here[axis.name] = environments[cell[axis.name]]
                for each in axis.lists:
                    here[each.name] = item_of(there(each.path, here[axis.name]), cell[each.name])
            found.append(here)
        return found

    def roots(self, payloads: Sequence[EndedEitherWay]) -> list[str]:
        """The names of the rows, or of the first ancestors, that samples are made of."""
        assert self._axis is not None
        names = [payload["cell"][self._axis.name] for payload in payloads]
        if self._parent is None or self._parent.rows is None:
            return names
        above = self._above(payloads)
        roots = self._snapshot.keys_of(self._parent, list(above), list(above.values()))
        found = dict(zip(above, roots, strict=True))
        return [found.get(name, name) for name in names]

    def _above(self, payloads: Sequence[EndedEitherWay]) -> dict[str, EndedEitherWay]:
        """The parents of samples that stand, by name."""
        assert self._axis is not None
        wanted = dict.fromkeys(payload["cell"][self._axis.name] for payload in payloads)
        seqs = array("q")
        for name in wanted:
            at = bisect_left(self._names, int(name, 16))
            if at < len(self._names) and self._names[at] == int(name, 16):
                seqs.append(self._seqs[at])
        return dict(completed(self._snapshot.cursor(), seqs)) if seqs else {}
