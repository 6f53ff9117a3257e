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
        if not attempts and not any("candidate" in attempt for attempt in refused):
            # One attempt a round.  A value that was refused afterwards may have the number of another.
            rounds[step] = len(refused)
            last[step] = refused[-1]
            continue
        picked = {attempt["attempt"] for attempt in attempts if attempt.get("picked", False)}
        without = {attempt["attempt"] for attempt in refused} - picked
        rounds[step] = len(without)
        if not without:
            continue
        totals = {
            (attempt["attempt"], attempt.get("candidate", 0)): attempt["marks"]["total"]
            for attempt in attempts
            if "marks" in attempt
        }
        last[step] = max(
            (attempt for attempt in refused if attempt["attempt"] == max(without)),
            key=lambda attempt: (
                totals.get((attempt["attempt"], attempt.get("candidate", 0)), float("-inf")),
                -attempt.get("candidate", 0),
            ),
        )
    return Loss(rounds, last, ended.get("inputs", ""))
