"""How a sample was lost: what a later run does not try again, and what it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synth.store.log.payloads import RejectedAttempt, SampleAbandoned


@dataclass(frozen=True, slots=True)
class Loss:
    """By step, how many rounds of attempts ended without a value, and of the last of them the refused attempt
    with the best marks, else the first; `inputs` are what the sample was made of."""

    rounds: Mapping[str, int]
    last: Mapping[str, RejectedAttempt]
    inputs: str


def loss_of(ended: SampleAbandoned) -> Loss:
    """The loss that ended a sample."""
    rounds: dict[str, int] = {}
    last: dict[str, RejectedAttempt] = {}
    for step, refused in ended.get("rejected", {}).items():
        attempts = ended.get("attempts", {}).get(step, ())
        if not attempts and not any("candidate" in each for each in refused):
            # One attempt a round.  A value that was refused afterwards may have the number of another.
            rounds[step] = len(refused)
            last[step] = refused[-1]
            continue
        picked = {each["attempt"] for each in attempts if each.get("picked", False)}
        without = {each["attempt"] for each in refused} - picked
        rounds[step] = len(without)
        if not without:
            continue
        totals = {
            (each["attempt"], each.get("candidate", 0)): each["marks"]["total"]
            for each in attempts
            if "marks" in each
        }
        last[step] = max(
            (each for each in refused if each["attempt"] == max(without)),
            key=lambda each: (
                totals.get((each["attempt"], each.get("candidate", 0)), float("-inf")),
                -each.get("candidate", 0),
            ),
        )
    return Loss(rounds, last, ended.get("inputs", ""))
