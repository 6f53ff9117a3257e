"""What an export's columns can be taken from: samples, and what a preference has beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from synth.compiler.bind.blocks.bound import Conversation, Preference, Step
from synth.compiler.plan.types import COUNT, NUMBER, Type


@dataclass(frozen=True, slots=True)
class Columns:
    """What columns are taken from and stand beside.

    `places` are the conversations that rows are of, by name, and `sources` the sources of messages among
    the parts of a mix.  `taken` are the columns that rows have anyhow.  Of refused attempts (`attempts`)
    no step need have a value.  A pair is of a sample and of what its preference wrote, `together`.
    """

    places: dict[str, Conversation | Preference]
    sources: frozenset[str]
    taken: frozenset[str]
    attempts: bool
    mixed: bool
    together: bool = False

    def example(self) -> str:
        """A column that there could be."""
        name, conversation = next(iter(self.places.items()), ("chats", None))
        known = list(self.values(conversation)) if conversation is not None else []
        return f"{name}.{next((column for column in known if column != 'nth'), 'nth')}"

    def values(self, conversation: Conversation | Preference) -> dict[str, tuple[Type, bool]]:
        """What of a sample, or of a pair beside its sample, can be a column: the type of each, and whether
        it is a set's member."""
        if isinstance(conversation, Preference):
            sides = ("chosen", "rejected") if conversation.marked else ()
            marks = {f"{side}_mark": (_mark_of(conversation, side), False) for side in sides}
            return {step.name: (_there(step), False) for step in conversation.steps} | marks
        types: dict[str, tuple[Type, bool]] = {
            axis.name: (Type("record", schema=axis.set.schema), True) for axis in conversation.axes
        }
        types |= {name: (type_, False) for name, type_ in conversation.outside}
        types |= {draw.name: (draw.record, bool(draw.source)) for draw in conversation.draws}
        if not self.attempts:
            types |= {step.name: (_there(step), False) for step in conversation.steps}
        return types | {"nth": (COUNT, False)}


def _there(step: Step) -> Type:
    """The type of a step's value: what stands under a condition may be left out of a sample."""
    return replace(step.output, optional=step.output.optional or bool(step.when))


def _mark_of(preference: Preference, side: str) -> Type:
    """The type of a side's mark: an answer that was refused, or that nobody marks, may have none."""
    plan = preference.chosen if side == "chosen" else preference.rejected
    return replace(NUMBER, optional=plan.name == "attempts" or side not in preference.marked)
