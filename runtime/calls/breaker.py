"""Steps that nothing passes, told from those that pass seldom.

Once MOST_JUDGED attempts at a step were judged in a run and none passed, no further one is issued.
What is in flight then is awaited: if any of it passes after all, the step goes on; if none does, its
breaker is open, and whatever needs the step ends pending.  Verdicts on answers that the log had
decide nothing, since they cost nothing and may be of other settings.

Lives on the event loop alone.  `Breakers.begin` and `end` are called around each try at a service;
between the end of a try and the verdict on its answer nothing else runs, so a breaker is looked at
only when all that came back is counted.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from synth.base.text import valid_text
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.stdlib.folds import FOLDS
from synth.runtime.events.budget import Stopped
from synth.store.log.payloads import StuckStep

# At one answer in five, so many refusals in a row come up once in 7,500 times.
MOST_JUDGED = 40
_EXAMPLES = 2
_LONGEST = 240
# `empty 8 times in a row: the answer has no text`
_KIND = re.compile(r"([a-z_]+)(?: \d+ times in a row)?: (.+)", re.DOTALL)
# What refuses an answer before any check of the recipe's own.
_JSON = frozenset({"json_valid", "schema"})


class Held(Exception):
    """Raised where a try would have been issued while those in flight decide about its step."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A step that nothing passed; `model` is None for one that asks none.

    `checks` counts the refusals by check, or by the kind of a service's failure where it `failed`;
    `examples` are refused answers, shortened to one line.
    """

    cohort: str
    step: str
    model: str | None
    judged: int
    checks: dict[str, int]
    failed: bool
    reason: str
    examples: tuple[str, ...]
    # Where samples were lost for its sake.
    lost_at: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What happened, as a clause."""
        what = ("failed", "failure") if self.failed else ("were refused", "refusal")
        most = next(iter(self.checks))
        others = len(self.checks) - 1
        more = f", and {others} other kind{'s' * (others > 1)} of {what[1]}" if others else ""
        return (
            f"`{self.step}` of `{self.cohort}` never passed: all {self.judged} attempts {what[0]} "
            f"({most}: {self.reason}{more})"
        )

    @property
    def remedy(self) -> str:
        """What to change, as a clause."""
        kinds = set(self.checks)
        if self.model is None:
            return "change what it is made of, or the check"
        if kinds & {"empty", "not_empty", "thinking"}:
            return (
                f"`{self.model}` says nothing: raise its max_tokens, or have it think less or not at all "
                "by its options in synth.toml"
            )
        if self.failed:
            return (
                f"change what is sent: the options of `{self.model}` in synth.toml, the prompt or the model"
            )
        if "complete" in kinds and not kinds & _JSON:
            return (
                f"give `{self.model}` a larger max_tokens, have the prompt ask for less, or keep text that "
                "was cut with `on_length = keep`"
            )
        if kinds & _JSON:
            return (
                "have the prompt ask for JSON alone, set how JSON is asked for by the options of "
                f"`{self.model}` in synth.toml, or take another model"
            )
        return "change what the prompt asks for, the check or the model"

    def to_json(self) -> StuckStep:
        """As `run.stopped` and `--json` have it."""
        return StuckStep(
            cohort=self.cohort,
            step=self.step,
            model=self.model,
            judged=self.judged,
            checks=self.checks,
            failed=self.failed,
            reason=self.reason,
            examples=list(self.examples),
            lost_at=list(self.lost_at),
        )


@dataclass(slots=True)
class _Breaker:
    """What one step's attempts came to in this run.  `out` are tries at the service, and answers
    that a judge has still to speak of."""

    cohort: str
    step: str
    model: str | None
    lost_at: tuple[str, ...]
    judged: int = 0
    passed: bool = False
    failed: int = 0
    out: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def doubtful(self) -> bool:
        return self.judged >= MOST_JUDGED and not self.passed

    @property
    def open(self) -> bool:
        return self.doubtful and not self.out

    def leave(self) -> None:
        self.out -= 1
        if not self.out:
            self.changed.set()

    def stuck(self) -> Stuck:
        checks = dict(self.checks.most_common())
        return Stuck(
            self.cohort,
            self.step,
            self.model,
            self.judged,
            checks,
            self.failed == self.judged,
            self.reasons[next(iter(checks))],
            tuple(self.examples),
            self.lost_at,
        )


class Breakers:
    """A breaker for each step of some cohorts that can fail.  Any other step is let through."""

    def __init__(self, cohorts: Iterable[CohortPlan] = ()) -> None:
        # Steps are told apart by identity: two cohorts may have equal ones.
        self._by_step: dict[int, _Breaker] = {}
        self._doubtful: dict[str, list[_Breaker]] = {}
        for cohort in cohorts:
            for step in cohort.steps:
                self._add(cohort, step, (step.name,))
                for beside in (*step.players, *step.judged_by, *step.marked_by):
                    self._add(cohort, beside, (beside.name, step.name))

    def _add(self, cohort: CohortPlan, step: StepPlan, lost_at: tuple[str, ...]) -> None:
        called = step.call is not None and step.call.name not in FOLDS
        if step.model is not None or called or step.checks:
            self._by_step[id(step)] = _Breaker(cohort.name, step.name, step.model, lost_at)

    # What a caller tells and asks

    async def ready(self, step: StepPlan) -> None:
        """Returns when a try may be issued.  Raises Stopped once a breaker of its cohort is open."""
        while (breaker := self._holding(step)) is not None:
            if breaker.open:
                raise Stopped
            breaker.changed.clear()
            await breaker.changed.wait()

    def admit(self, step: StepPlan) -> None:
        """Raises Held or Stopped where a try may not be issued now."""
        breaker = self._holding(step)
        if breaker is not None:
            raise Stopped if breaker.open else Held

    def _holding(self, step: StepPlan) -> _Breaker | None:
        """The doubtful breaker that holds a step's tries back: its own, or that of another step of its
        cohort, whose samples come to nothing without it; but judges go on to speak of what is in doubt."""
        if not self._doubtful or (own := self._by_step.get(id(step))) is None:
            return None
        doubtful = self._doubtful.get(own.cohort, ())
        return next((breaker for breaker in doubtful if breaker.doubtful and _held_by(own, breaker)), None)

    def begin(self, step: StepPlan) -> None:
        """A try is issued; `end` follows."""
        breaker = self._by_step.get(id(step))
        if breaker is not None:
            breaker.out += 1

    def end(self, step: StepPlan) -> None:
        """A try came back.  A verdict on its answer, if any, is told before anything else runs."""
        breaker = self._by_step.get(id(step))
        if breaker is not None:
            breaker.leave()

    # What a sample tells

    @contextmanager
    def judging(self, step: StepPlan) -> Iterator[None]:
        """While judges speak of an answer, it may still pass."""
        breaker = self._by_step.get(id(step))
        if breaker is None:
            yield
            return
        breaker.out += 1
        try:
            yield
        finally:
            breaker.leave()

    def passed(self, step: StepPlan) -> None:
        """An attempt was accepted."""
        breaker = self._by_step.get(id(step))
        if breaker is not None and not breaker.passed:
            breaker.passed = True
            # What would have been shown of it is not needed any more.
            breaker.checks.clear()
            breaker.reasons.clear()
            breaker.examples.clear()
            breaker.changed.set()

    def refused(self, step: StepPlan, check: str, reason: str, text: str | None = None) -> None:
        """An attempt was refused by a check; without a text, it failed for good at the service."""
        breaker = self._by_step.get(id(step))
        if breaker is None or breaker.passed:
            return
        breaker.judged += 1
        breaker.failed += text is None
        breaker.checks[check] += 1
        breaker.reasons[check] = _shown(reason)
        if text is not None and len(breaker.examples) < _EXAMPLES and _shown(text) not in breaker.examples:
            breaker.examples.append(_shown(text))
        if breaker.judged == MOST_JUDGED:
            self._doubtful.setdefault(breaker.cohort, []).append(breaker)

    def gave_up(self, step: StepPlan, reason: str) -> None:
        """An attempt failed for good at the service, or found nothing."""
        named = _KIND.match(reason)
        kind, why = named.groups() if named else ("failed", reason)
        self.refused(step, kind, why)

    # What the run asks

    def is_stuck(self, cohort: str) -> bool:
        """Whether no further sample of a cohort can be completed in this run."""
        return bool(self._doubtful) and any(breaker.open for breaker in self._doubtful.get(cohort, ()))

    def stuck(self) -> tuple[Stuck, ...]:
        """The steps that nothing passed, once nothing is in flight."""
        return tuple(
            breaker.stuck() for breakers in self._doubtful.values() for breaker in breakers if breaker.open
        )


def _held_by(own: _Breaker, other: _Breaker) -> bool:
    return own is other or other.step not in own.lost_at


def _shown(text: str) -> str:
    """Text on one line and not long; what would take effect on a terminal is escaped where it is
    printed."""
    line = valid_text(" ".join(text[: 4 * _LONGEST].split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
