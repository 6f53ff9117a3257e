"""The rows of a mix: exact shares of conversations and sources, evenly interleaved."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, repeat
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.errors import QuotaShort
from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.outputs import MixPart, MixPlan
from synth.store.dataset.inputs.select import Models
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.rows.apportion import (
    Side,
    apart,
    chosen,
    held_out_of,
    interleaved,
    largest_total,
    last,
    place_counts,
    sides,
)
from synth.store.dataset.rows.layout import Conversation, Layout, Row
from synth.store.dataset.rows.row_sources import RowSource, Samples, SourceRows


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a mix, and the places that its rows come from."""

    plan: MixPart
    places: tuple[RowSource, ...]

    @property
    def available(self) -> int:
        return sum(place.available for place in self.places)

    @property
    def missing(self) -> int:
        return sum(place.missing for place in self.places)

    @property
    def forgotten(self) -> int:
        return sum(place.forgotten for place in self.places)

    @property
    def generated(self) -> bool:
        """Whether it is of conversations alone, so that how much there is was the recipe's choice."""
        return all(isinstance(place, Samples) for place in self.places)

    def short(self, wanted: int) -> str:
        """What is wanted and what is there, as a clause."""
        several = len(self.places) > 1
        told = [", ".join(f"`{place.name}` {place.available}" for place in self.places)] if several else []
        told += [account for place in self.places if (account := place.account())]
        return (
            f"`{self.plan.name}` needs {wanted} rows and has {self.available}"
            + (f" ({'; '.join(told)})" if told else "")
        )  # fmt: skip


class Mixed:
    """The rows of one mix.  Raises QuotaShort where a conversation was never run or a source never
    read."""

    unit = "sample"

    def __init__(self, snapshot: LogSnapshot, mix: MixPlan) -> None:
        self._seed = snapshot.plan.seed
        self._mix = mix
        self._parts = [
            _Part(part, tuple(_place(snapshot, name) for name in part.sources)) for part in mix.parts
        ]
        self._counts: tuple[int, ...] = ()

    @property
    def missing(self) -> int:
        return sum(part.missing for part in self._parts)

    @property
    def forgotten(self) -> int:
        return sum(part.forgotten for part in self._parts)

    def incomplete(self) -> list[str]:
        return [
            f"`{place.name}` has {place.available} of {place.available + place.missing} samples"
            for part in self._parts
            for place in part.places
            if place.missing
        ]

    def prepare(self, *, partial: bool) -> None:
        """Decides how many rows each part gives.  Raises QuotaShort where one has too few.

        Where what is there is taken, a part that is not made to the end makes the mix smaller, and so
        does one of which something was forgotten.
        """
        shares = [part.plan.share for part in self._parts]
        there = [part.available for part in self._parts]
        if self._mix.whole:
            self._counts = tuple(there)
            return
        rule = self._mix.when_short
        total = self._total(shares)
        counts = largest_remainder(shares, total)
        # What each part that makes the mix smaller, rather than fail, can give.
        bounds = [
            part.available
            if rule == "shrink" or (rule == "fail" and ((partial and part.missing) or part.forgotten))
            else None
            for part in self._parts
        ]
        if any(bound is not None and count > bound for count, bound in zip(counts, bounds, strict=True)):
            counts = largest_remainder(shares, largest_total(shares, bounds))
        short = "; ".join(
            part.short(count)
            for part, count in zip(self._parts, counts, strict=True)
            if count > part.available and (rule == "fail" or not part.available)
        )
        if short:
            raise QuotaShort(
                f"the mix `{self._mix.name}` cannot be filled: {short}: {self._remedy(shares, there)}"
            )
        self._counts = counts

    def _total(self, shares: list[int]) -> int:
        """How many rows are asked for.  Where the recipe does not say, what was generated decides:
        as much of it as the shares allow."""
        if self._mix.total is not None:
            return self._mix.total
        generated = [part.available if part.generated else None for part in self._parts]
        if not any(share and have is not None for share, have in zip(shares, generated, strict=True)):
            return largest_total(shares, [part.available for part in self._parts])
        return largest_total(shares, generated)

    def _remedy(self, shares: list[int], there: list[int]) -> str:
        possible = largest_total(shares, there)
        if not possible:
            return "add rows, or take the part out"
        return f"add rows, lower its total to {possible}, or say `when_short = shrink`"

    def sides(self, split: str | None) -> Side:
        """The shares hold on both sides: each place holds out its part of what is held out.  Where all is
        taken, each row goes by its own key, as it does outside of a mix."""
        if split is None or self._mix.whole:
            return sides(split)
        counts = [
            place_counts([place.available for place in part.places], count)
            for part, count in zip(self._parts, self._counts, strict=True)
        ]
        parts = largest_remainder(self._counts, held_out_of(sum(self._counts), split))
        held_out: set[str] = set()
        for part, of_places, wanted in zip(self._parts, counts, parts, strict=True):
            if not wanted:
                continue
            for place, count, here in zip(
                part.places, of_places, largest_remainder(of_places, wanted), strict=True
            ):
                # Copies of a row are on one side, so of a repeated place whole rows are held out.
                each = max(1, count // place.available) if place.available else 1
                held_out.update(last(self._taken(place, count), here // each))
        return apart(frozenset(held_out))

    def _taken(self, place: RowSource, count: int) -> Iterator[str]:
        """The keys of the rows that a place gives, each row once."""
        if count >= place.available:
            return place.keys()
        taken = set(self._first(place, count))
        return (name for index, name in enumerate(place.keys()) if index in taken)

    def rows(self, layout: Layout) -> Iterator[Row]:
        streams = [self._part(layout, *each) for each in zip(self._parts, self._counts, strict=True)]
        for index in self._ordered():
            yield from layout.conversation(next(streams[index]))

    def _ordered(self) -> Iterator[int]:
        """Of each row in order, the index of its part."""
        if not self._mix.order:
            return iter(interleaved(self._counts))
        indexes = [[part.plan.name for part in self._parts].index(name) for name in self._mix.order]
        return chain.from_iterable(repeat(index, self._counts[index]) for index in indexes)

    def _part(self, layout: Layout, part: _Part, count: int) -> Iterator[Conversation]:
        counts = place_counts([place.available for place in part.places], count)
        streams = [self._place(layout, *each) for each in zip(part.places, counts, strict=True)]
        return (next(streams[index]) for index in interleaved(counts))

    def _place(self, layout: Layout, place: RowSource, count: int) -> Iterator[Conversation]:
        """Whole copies of a place first, where it is repeated, and then those of its rows that come
        first by the hash of their ids: the same ones, and some more, when the mix grows."""
        if not count:
            return
        copies, rest = divmod(count, place.available)
        for copy in range(1, copies + 1):
            yield from place.conversations(layout.export, range(place.available), copy)
        if rest:
            yield from place.conversations(layout.export, self._first(place, rest), copies + 1)

    def _first(self, place: RowSource, count: int) -> array[int]:
        return chosen(array("Q", (self._rank(name) for name in place.ids())), count)

    def _rank(self, row: str) -> int:
        key = canonical_json([self._seed, self._mix.name, row]).encode("utf-8", "surrogatepass")
        return int.from_bytes(sha256(key).digest()[:8], "big")

    def models(self) -> Models:
        return [
            model
            for part, count in zip(self._parts, self._counts, strict=True)
            if count
            for place in part.places
            for model in place.models()
        ]

    def manifest(self) -> dict[str, Any]:
        whole = sum(part.plan.share for part in self._parts)
        parts: list[dict[str, Any]] = []
        for part, count in zip(self._parts, self._counts, strict=True):
            counts = place_counts([place.available for place in part.places], count)
            parts.append(
                {
                    "part": part.plan.name,
                    "share": "all" if self._mix.whole else f"{100 * part.plan.share / whole:g}%",
                    "available": part.available,
                    "rows": count,
                    "places": [
                        {**place.manifest(), "rows": rows}
                        for place, rows in zip(part.places, counts, strict=True)
                    ],
                }
            )
        return {
            "source": {
                "mix": self._mix.name,
                "total": self._mix.total,
                "when_short": self._mix.when_short,
                **({"order": list(self._mix.order)} if self._mix.order else {}),
                "rows": sum(self._counts),
                "parts": parts,
            }
        }


def _place(snapshot: LogSnapshot, name: str) -> RowSource:
    if any(source.name == name for source in snapshot.plan.sources):
        return SourceRows(snapshot, name)
    return Samples(snapshot, name)
