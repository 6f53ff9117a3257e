"""Pass: the turns of a conversation alternate, and some are trained on, however its conditions fall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Label
from synth.compiler.bind.blocks.bound import Conversation, Step
from synth.compiler.bind.expressions.ways import MOST, TooManyWays


def check_turns(conversation: Conversation, diagnostics: Diagnostics) -> None:
    """E502: two turns of the same role in a row, which no chat template takes, a first one of the model, or
    what opens a conversation and does not come first; a turn of messages that either role goes on after.
    E507: a way for conditions to fall in which nothing is said, or nothing trained on."""
    if conversation.poisoned:
        return
    turns = [step for step in conversation.steps if step.role is not None]
    reported: set[tuple[str, ...]] = set()
    goes_on: dict[str, Step] = {}
    try:
        for way in _ways(conversation, turns):
            for before, after in _goes_on(way):
                first = goes_on.setdefault(before.name, after)
                if first.role != after.role and ("", before.name) not in reported:
                    reported.add(("", before.name))
                    diagnostics.add(_two_roles(before, first, after))
            for fault in _faults(conversation, turns, way):
                key = (fault.code, fault.message.split(" where ")[0])
                if key not in reported:
                    reported.add(key)
                    diagnostics.add(fault)
    except TooManyWays:
        diagnostics.add(
            Diagnostic(
                "E502",
                f"the conditions of `{conversation.name}` can fall in more than {MOST} ways, too many to see "
                "whether its turns alternate in each",
                conversation.span,
                hint="let turns share a condition, or go by fewer values",
            )
        )


def _ways(conversation: Conversation, turns: Sequence[Step]) -> Iterator[list[Step]]:
    """The turns that are said, for each way in which conditions can fall."""
    for way in conversation.ways.fall(condition for turn in turns for condition in turn.when):
        yield [turn for turn in turns if way.hold(turn.when)]


def _faults(conversation: Conversation, turns: Sequence[Step], every: Sequence[Step]) -> Iterator[Diagnostic]:
    spoken = [turn for turn in every if turn.role != "system"]
    yield from _opens(every)
    for before, after in pairwise(spoken):
        if before.role == after.role != "messages":
            between = turns[turns.index(before) + 1 : turns.index(after)]
            yield Diagnostic(
                "E502",
                f"`{after.name}` follows `{before.name}`, and both are {after.role} turns{_where(between)}",
                after.role_span,
                secondary=(Label(before.role_span, f"{before.role} here"), *_left_out(between)),
                hint="the same condition on a turn and its answer keeps them together"
                if between
                else "turns alternate between user and model; write a `step` for what is not said",
            )
    if spoken and spoken[0].role == "model":
        between = [turn for turn in turns[: turns.index(spoken[0])] if turn.role != "system"]
        yield Diagnostic(
            "E502",
            f"`{spoken[0].name}` is said before the user said anything{_where(between)}",
            spoken[0].role_span,
            secondary=_left_out(between),
            hint="a conversation begins with a user turn",
        )
    trained = [turn for turn in turns if turn.name in conversation.train_on]
    trained = trained or [turn for turn in turns if turn.role == conversation.train_every]
    sayable = [turn for turn in turns if turn.role != "system"]
    if (sayable and not spoken) or (trained and not any(turn in spoken for turn in trained)):
        what = "nothing is said" if not spoken else "nothing is trained on"
        absent = trained if spoken else sayable
        yield Diagnostic(
            "E507",
            f"{what} in the samples of `{conversation.name}`{_where(absent)}",
            conversation.span,
            secondary=_left_out(absent),
            hint="leave a turn of the model without a condition, or put one beside it under the opposite "
            "one: `unless ...`",
        )


def _opens(every: Sequence[Step]) -> Iterator[Diagnostic]:
    """The system speaks once and first, and what was said before comes before all that is said."""
    for index, turn in enumerate(every):
        above = [earlier for earlier in every[:index] if turn.role == "system" or earlier.role != "system"]
        if turn.role in ("system", "messages") and above:
            twice = next((earlier for earlier in above if earlier.role == turn.role), None)
            what = "the system's turn" if turn.role == "system" else "what was said before"
            yield Diagnostic(
                "E502",
                f"`{turn.name}` is {what}, and `{(twice or above[0]).name}` "
                + ("is so too" if twice is not None else "stands above it"),
                turn.role_span,
                secondary=(Label((twice or above[0]).role_span, "said first"),),
                hint="keep one of them" if twice is not None else f"put `{turn.name}` first",
            )


def _goes_on(every: Sequence[Step]) -> Iterator[tuple[Step, Step]]:
    """A turn of messages that is said, and the turn that goes on after it."""
    for before, after in pairwise(every):
        if before.role == "messages" and after.role in ("user", "model"):
            yield before, after


def _two_roles(before: Step, first: Step, after: Step) -> Diagnostic:
    return Diagnostic(
        "E502",
        f"`{first.name}` goes on after `{before.name}` in some samples and `{after.name}` in others, so "
        "where the messages end is not decided",
        after.role_span,
        secondary=(Label(first.role_span, f"{first.role} here"),),
        hint="let one of the two stand under no condition",
    )


def _where(absent: Sequence[Step]) -> str:
    names = [f"`{step.name}`" for step in absent]
    if not names:
        return ""
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f" where {listed} {'are' if names[1:] else 'is'} left out"


def _left_out(absent: Sequence[Step]) -> tuple[Label, ...]:
    return tuple(Label(step.span, f"said only `{step.written}`") for step in absent[:4])
