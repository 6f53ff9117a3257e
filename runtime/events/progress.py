"""How far a run is: counters for the terminal, the summary and `progress.json`.

Changed on the event loop only; read from anywhere.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.base.leftovers import draft
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import StepPlan
from synth.runtime.money.usage import Usage

_SUMS = (
    *("issued", "completed", "estimated", "lost"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
)
_MONEY = ("cost", "lost_cost")
# The log's name where nobody gives it another.
USUAL_LOG = "synth.duckdb"


@dataclass(slots=True)
class StepProgress:
    """Calls of one step.  `issued` tries are `completed` answers, `failed` ones or in flight;
    `completed` and `reused` answers (those of the log) are `accepted` or `rejected`, or candidates that stand
    `unpicked`."""

    model: str
    issued: int = 0
    in_flight: int = 0
    completed: int = 0
    reused: int = 0
    accepted: int = 0
    failed: int = 0
    rejected: int = 0
    unpicked: int = 0
    # Whether it is a judge's, and values that were accepted, by the round of attempts that gave them.
    judges: bool = False
    rounds: Counter[int] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    # Answers whose tokens the service did not count, and tries that it may have charged for unsaid.
    estimated: int = 0
    lost: int = 0
    # Money that answers and failures cost, and what lost ones can have cost besides.
    cost: float = 0.0
    lost_cost: float = 0.0
    first_issued: float | None = None

    @property
    def seconds(self) -> float:
        """Since this step's first try, so that loading a model does not count."""
        return 0.0 if self.first_issued is None else time.monotonic() - self.first_issued

    def took(self, usage: Usage, cost: float) -> None:
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cached_tokens += usage.cached_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.cost += cost


@dataclass(slots=True)
class CohortProgress:
    """Samples of one cohort.  `found` of the completed ones were in the log before the run, which has
    nothing of `forgotten` ones.  It is `limited` where the run is to make fewer than there are."""

    quota: int
    completed: int = 0
    abandoned: int = 0
    open: int = 0
    in_log: int = 0
    forgotten: int = 0
    limited: bool = False


@dataclass(slots=True)
class Progress:
    plan: Plan
    run_id: str
    cohorts: dict[str, CohortProgress] = field(default_factory=dict)
    steps: dict[tuple[str, str], StepProgress] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    # The last words of each kind of failure.
    words: dict[str, str] = field(default_factory=dict)
    # Answers by another model than was asked for, by the recipe's name, the name asked for and theirs.
    served: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)
    abandonments: Counter[str] = field(default_factory=Counter)
    # What is done before the first call can be made; empty when nothing is.
    preparing: str = ""
    # Who say, from any thread, what is waited for.
    tellers: list[Callable[[], list[str]]] = field(default_factory=list)
    # Whose prices are known, and by which list; the bound on money, if there is one.
    prices: dict[str, str] = field(default_factory=dict)
    max_cost: float | None = None
    started: float = field(default_factory=time.monotonic)
    _by_step: dict[int, StepProgress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cohort in (*self.plan.cohorts, *self.plan.pair_cohorts):
            self.cohorts[cohort.name] = CohortProgress(cohort.quota)
            for step in cohort.asking:
                counters = StepProgress(str(step.model), judges=step not in cohort.steps)
                self.steps[cohort.name, step.name] = counters
                # Steps are told apart by identity: two cohorts may have equal ones.
                self._by_step[id(step)] = counters

    def cohort(self, cohort: CohortPlan) -> CohortProgress:
        return self.cohorts[cohort.name]

    def issued(self, step: StepPlan) -> None:
        counters = self._by_step[id(step)]
        counters.issued += 1
        counters.in_flight += 1
        if counters.first_issued is None:
            counters.first_issued = time.monotonic()

    def returned(self, step: StepPlan) -> None:
        self._by_step[id(step)].in_flight -= 1

    def completed(self, step: StepPlan, usage: Usage, cost: float) -> None:
        counters = self._by_step[id(step)]
        counters.completed += 1
        counters.estimated += usage.estimated
        counters.took(usage, cost)

    def served_by(self, model: str | None, asked: str, served: str) -> None:
        """Another model than the one that was asked for answered."""
        self.served.setdefault(str(model), {}).setdefault(asked, Counter())[served] += 1

    def reused(self, step: StepPlan) -> None:
        self._by_step[id(step)].reused += 1

    def failed(
        self, step: StepPlan, kind: str, usage: Usage, cost: float, lost_cost: float | None = None
    ) -> None:
        """`lost_cost` is what a try can have cost whose answer was lost, None for any other."""
        counters = self._by_step[id(step)]
        counters.failed += 1
        counters.took(usage, cost)
        if lost_cost is not None:
            counters.lost += 1
            counters.lost_cost += lost_cost
        self.failures[kind] += 1

    def heard(self, kind: str, words: str) -> None:
        """What a service said of a failed try."""
        self.words[kind] = words

    def accepted(self, step: StepPlan, round_: int) -> None:
        counters = self._by_step[id(step)]
        counters.accepted += 1
        if not counters.judges:
            counters.rounds[round_] += 1

    def rejected(self, step: StepPlan, check: str) -> None:
        self._by_step[id(step)].rejected += 1
        self.rejections[step.name, check] += 1

    def unpicked(self, step: StepPlan) -> None:
        """A candidate stands, and another one is the value."""
        self._by_step[id(step)].unpicked += 1

    def refused(self, step: StepPlan, check: str) -> None:
        """A set-wide check refused what had been accepted, or what was composed did not hold."""
        counters = self._by_step.get(id(step))
        if counters is not None:
            counters.accepted -= 1
            counters.rejected += 1
        self.rejections[step.name, check] += 1

    @property
    def waiting_for(self) -> list[str]:
        """What is waited for, each in a clause; empty when all goes well."""
        return [clause for teller in self.tellers for clause in teller()]

    @property
    def calls(self) -> int:
        """Calls issued by this run, tries included."""
        return sum(step.issued for step in self.steps.values())

    @property
    def cost(self) -> float:
        """Money spent by this run, what lost answers can have cost among it."""
        return sum(step.cost + step.lost_cost for step in self.steps.values())

    @property
    def tokens_a_second(self) -> float:
        """Tokens that models wrote since the first call was issued."""
        seconds = max((step.seconds for step in self.steps.values()), default=0.0)
        written = sum(step.completion_tokens for step in self.steps.values())
        return written / seconds if seconds else 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def models(self) -> list[dict[str, Any]]:
        """What each model that was asked took, and cost where a price is known."""
        models = []
        for name in dict.fromkeys(step.model for step in self.steps.values()):
            steps = [step for step in self.steps.values() if step.model == name and step.issued]
            if not steps:
                continue
            priced = name in self.prices
            sums = {counter: sum(getattr(step, counter) for step in steps) for counter in _SUMS}
            money = {counter: round(sum(getattr(step, counter) for step in steps), 9) for counter in _MONEY}
            models.append(
                {
                    "model": name,
                    **sums,
                    **{counter: amount if priced else None for counter, amount in money.items()},
                    "prices": self.prices.get(name),
                }
            )
        return models

    def to_json(self) -> dict[str, Any]:
        """The counters as they stand, for `progress.json`, `--json` and `run.stopped`."""
        return {
            "cohorts": {
                name: {
                    "quota": c.quota,
                    "completed": c.completed,
                    "abandoned": c.abandoned,
                    "open": c.open,
                    "pending": c.quota - c.completed,
                    "found": c.in_log,
                    **({"forgotten": c.forgotten} if c.forgotten else {}),
                }
                for name, c in self.cohorts.items()
            },
            "steps": [
                {
                    "cohort": cohort,
                    "step": step,
                    "model": s.model,
                    "issued": s.issued,
                    "in_flight": s.in_flight,
                    "completed": s.completed,
                    "reused": s.reused,
                    "accepted": s.accepted,
                    "failed": s.failed,
                    "rejected": s.rejected,
                    **({"unpicked": s.unpicked} if s.unpicked else {}),
                    **({"accepted_by_round": _by_round(s.rounds)} if any(s.rounds) else {}),
                    "prompt_tokens": s.prompt_tokens,
                    "completion_tokens": s.completion_tokens,
                    "cached_tokens": s.cached_tokens,
                    "reasoning_tokens": s.reasoning_tokens,
                    "estimated": s.estimated,
                    "lost": s.lost,
                }
                for (cohort, step), s in self.steps.items()
            ],
            "models": self.models(),
            "failures": dict(sorted(self.failures.items())),
            "words": dict(sorted(self.words.items())),
            **({"served": self.served} if self.served else {}),
            "rejections": {f"{step}.{check}": n for (step, check), n in sorted(self.rejections.items())},
            "abandonments": dict(sorted(self.abandonments.items())),
        }


def _by_round(rounds: Counter[int]) -> list[int]:
    """How many values each round gave, from the first to the last that gave any."""
    return [rounds[number] for number in range(max(rounds) + 1)]


def progress_path(log: Path) -> Path:
    """`progress.json` beside a log of the usual name; beside another one `NAME.progress.json`, so that
    runs with logs of their own do not overwrite each other's."""
    return log.with_name("progress.json" if log.name == USUAL_LOG else f"{log.name}.progress.json")


def write_progress(path: Path, progress: Progress, *, next_seq: int, state: str) -> None:
    """Replaces the file atomically, so that a reader never sees half of it.

    Failing to write it harms nothing: it is a convenience for readers, not a record.
    """
    body = {
        "state": state,
        "pid": os.getpid(),
        "run_id": progress.run_id,
        "recipe": progress.plan.recipe,
        "plan_hash": progress.plan.plan_hash,
        "seconds": round(progress.seconds, 1),
        "next_seq": next_seq,
        "waiting": progress.waiting_for,
        **progress.to_json(),
    }
    temporary = draft(path)
    try:
        temporary.write_text(json.dumps(body, indent=1) + "\n", "utf-8")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
