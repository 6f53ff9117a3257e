"""What a conversation goes over besides sets, a table and lists that its rows have, and what of tables it
draws."""

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


class DealtPlan(Frozen):
    """`draw name from table`, `draw name from row.list` or `let name = sample(table, count = 3)`.

    `table` is a source, or `of` the path of a list below what the conversation is over.  With a `count` its
    value is a list of so many rows.  `plain` and `uses` are as those of a table.
    """

    name: str
    table: str = ""
    of: tuple[str, ...] = ()
    count: int | None = None
    plain: bool = False
    uses: tuple[tuple[str, ...], ...] = ()
