"""The attempts at a step that judges marked: which are best and worst, and what a pair can take of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from synth.compiler.plan.steps import CallPlan
from synth.store.log.payloads import MarkedAttempt, RejectedAttempt

# The sides of a preference that are attempts, and of these the ones that marks choose.
BY_MARKS = ("best", "worst")
OF_ATTEMPTS = ("attempts", *BY_MARKS)
# Digits of a mark that is a mean of several judges'.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What a side of a pair can be.  Of an attempt it has the index among those of its step, and the seq
    of its call; `mark` is the total of its marks, where it has any."""

    attempt: int | None = None
    call: int | None = None
    mark: float | None = None


def ranked(attempts: Sequence[MarkedAttempt]) -> list[int]:
    """The indexes of those with marks of the round that the value was picked from: the best first, of
    equals the lower candidate."""
    number = next((each["attempt"] for each in attempts if each.get("picked")), None)
    found = [index for index, each in enumerate(attempts) if each["attempt"] == number and each.get("marks")]
    return sorted(found, key=lambda index: (-total(attempts[index]), attempts[index].get("candidate", 0)))


def total(attempt: MarkedAttempt) -> float:
    """The sum of the marks of an attempt that has some."""
    return float(attempt["marks"]["total"])


def options(
    side: CallPlan,
    refused: Sequence[RejectedAttempt],
    attempts: Sequence[MarkedAttempt],
    unjudged: Collection[int] = (),
) -> list[Answer]:
    """What a side of a pair can be in a sample, whose `refused` and other `attempts` at the side's step
    are told; nothing where the side is an attempt and there is none.  No judge said a thing of the refused
    ones at the indexes `unjudged`."""
    marks = {_place(each): total(each) for each in attempts if each.get("marks")}
    match side.name:
        case "attempts":
            return [
                Answer(index, each["call"], marks.get(_place(each)))
                for index, each in enumerate(refused)
                if each["call"] is not None and index not in unjudged
            ]
        case "best" | "worst":
            order = ranked(attempts)
            if side.name == "best":
                order = [index for index in order if attempts[index].get("stood", True)]
            else:
                order.sort(key=lambda index: (total(attempts[index]), attempts[index].get("candidate", 0)))
            return [Answer(index, attempts[index]["call"], total(attempts[index])) for index in order[:1]]
        case "turn":
            picked = next((each for each in attempts if each.get("picked")), None)
            return [Answer(mark=None if picked is None else marks.get(_place(picked)))]
    return [Answer()]


def are_apart(
    chosen: tuple[CallPlan, Answer], rejected: tuple[CallPlan, Answer], margin: float | None
) -> bool:
    """Whether two answers are far enough apart for a pair: by a `margin`, or where marks choose both, by
    anything.  An answer without marks is far from any."""
    better, worse = chosen[1].mark, rejected[1].mark
    names = {chosen[0].name, rejected[0].name}
    if better is None or worse is None or (margin is None and not _marks_choose(names)):
        return True
    distance = round(better - worse, _DIGITS)
    return distance > 0 if margin is None else distance >= margin


def _marks_choose(sides: set[str]) -> bool:
    """Whether one of the sides is chosen by its marks, and none was refused whatever they are."""
    return not sides.isdisjoint(BY_MARKS) and "attempts" not in sides


def _place(attempt: MarkedAttempt | RejectedAttempt) -> tuple[int, int]:
    return attempt["attempt"], attempt.get("candidate", 0)


def first_shown(
    picked: int | None,
    refused: Sequence[RejectedAttempt],
    attempts: Sequence[MarkedAttempt],
    earlier: Sequence[tuple[int, int | None]],
) -> int | None:
    """The seq of a call of a step's first round, which is shown nothing of what was refused: `picked` is the
    call that wrote the value, and `earlier` the rounds and calls before the sample was lost and tried again.
    None where the log tells no call of that round."""
    told = [*earlier, *((each["attempt"], each["call"]) for each in (*refused, *attempts))]
    if picked is None or not told:
        return picked
    return min((call for number, call in told if number == 0 and call is not None), default=None)


def numbered(attempt: MarkedAttempt | RejectedAttempt) -> str:
    """Names an attempt within its step: its round, and after the first candidate its number there."""
    candidate = attempt.get("candidate", 0)
    return f"{attempt['attempt']}-{candidate}" if candidate else str(attempt["attempt"])
