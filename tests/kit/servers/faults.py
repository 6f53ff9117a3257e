"""What goes wrong, and when: a seeded plan of faults for the loopback servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, get_args

Fault = Literal[
    "rate_limit",  # 429 with Retry-After
    "server_error",  # 500
    "drop",  # the connection closes before any byte of an answer
    "cut",  # the connection closes in the middle of the body
    "garbled",  # 200 with a body that is not JSON
    "empty",  # a well-formed answer without text
    "malformed",  # an answer whose text is half of the JSON that was asked for
    "fenced",  # JSON inside a Markdown code fence
    "slow",  # the right answer, late
    "bad_arguments",  # a call of a tool with half of its arguments
    "unknown_tool",  # a call of a tool that nobody gave
    "cut_call",  # the limit of tokens in the middle of a call
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
JSON_ONLY: frozenset[Fault] = frozenset({"malformed", "fenced"})
CALLS_ONLY: frozenset[Fault] = frozenset({"bad_arguments", "unknown_tool", "cut_call"})


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which requests fail, and how.

    `script` is for the first arrivals, one entry each (None: no fault); after it each
    request draws by `rates`, shares of 1.  The draw is keyed `by` arrival number, or by
    (request key, how often it was seen), which does not depend on the order of arrival;
    either way the same request tried again draws anew.  `retry_after` and `slow` are
    seconds.
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    script: tuple[Fault | None, ...] = ()
    seed: int = 0
    by: Literal["arrival", "try"] = "try"
    retry_after: float = 1.0
    slow: float = 1.0

    def draw(
        self, arrival: int, key: str, seen: int, *, wants_json: bool, has_tools: bool = False
    ) -> Fault | None:
        """The fault for a request; `arrival` and `seen` count from 0."""
        if arrival < len(self.script):
            return self.script[arrival]
        if not self.rates:
            return None
        name = f"{self.seed}/{arrival}" if self.by == "arrival" else f"{self.seed}/{key}/{seen}"
        point = int.from_bytes(sha256(name.encode()).digest()[:8]) / 2**64
        for fault, rate in self.rates.items():
            if point < rate:
                fits = (wants_json or fault not in JSON_ONLY) and (has_tools or fault not in CALLS_ONLY)
                return fault if fits else None
            point -= rate
        return None
