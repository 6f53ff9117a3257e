"""What a conversation goes over besides sets: a table, and lists that its rows have."""

from __future__ import annotations

from typing import Literal

from synth.base.canonical import Frozen


class ListPlan(Frozen):
    """`over name in row.list`: an item of a list that each row of a table has."""

    name: str
    path: tuple[str, ...]
    plain: bool = False


class TablePlan(Frozen):
    """`over name in table`: samples for each row of a source, or for each sample of another
    conversation.

    `lists` are gone through within a row: the name of an item, and the path of the list.  What is `plain`
    is a value, not a record.  `uses` are the paths of rows' values that the samples are made of.
    """

    name: str
    kind: Literal["source", "conversation"]
    table: str
    lists: tuple[ListPlan, ...] = ()
    plain: bool = False
    uses: tuple[tuple[str, ...], ...] = ()
