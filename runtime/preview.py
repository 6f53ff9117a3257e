"""What a run would issue: exactly in calls, as an estimate in tokens and money.

With a log, the run's own scheduler walks the plan with a caller that knows the log and nothing
else, so what is previewed is what would run.  Retries are not foreseen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from compiler.plan import JsonOutput, Plan, StepPlan, asking, canonical_json
from compiler.runnable import require_runnable
from runtime import loop
from runtime.accept import Rejected
from runtime.attempt import Answer
from runtime.caller import PreviewCaller
from runtime.config import Price, Settings
from runtime.models import Models
from runtime.opening import finished_samples, open_books, remember
from runtime.pairs import Pairs
from runtime.past import LoggedPast
from runtime.progress import Progress
from runtime.sample import Sample
from runtime.scheduler import Scheduler
from runtime.stop import Stop
from store.history import History
from store.log import Log

_WINDOW = 1024
# Characters a token, for prompts not yet written: near enough in English, low for others.
_CHARACTERS = 4
_UNKNOWN_ANSWER = 200


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a cohort: calls to make, answers the log has, tokens each, money in all.

    `measured` says that tokens are means of the log's calls of this step, not guesses.
    `cost` is None where there is no price.
    """

    cohort: str
    step: str
    model: str
    new: int
    reused: int
    prompt_tokens: float
    completion_tokens: float
    measured: bool
    cost: float | None


def estimate(plan: Plan, settings: Settings) -> list[StepCost]:
    """What a run with an empty log issues: the quota, once for each step that asks a model."""
    return [
        _price(plan, settings, cohort.name, cohort.steps, step, cohort.quota, 0, None)
        for cohort in (*plan.cohorts, *plan.pair_cohorts)
        for step in cohort.asking
    ]


def preview(plan: Plan, settings: Settings, log: Log) -> list[StepCost]:
    """What a run with this log issues.  Opens the models' tokenizers, but no model."""
    require_runnable(plan)
    return loop.run(_preview(plan, settings, log))


async def _preview(plan: Plan, settings: Settings, log: Log) -> list[StepCost]:
    models, history = Models(plan, settings), History(log)
    progress, counts = Progress(plan, "preview"), _Counting()
    lineages = {name: str(entry["lineage"]) for name, entry in models.lineages(plan).items()}
    books = open_books(plan, finished_samples(history, lineages), counts, progress)
    remember(books, history, lineages)
    past = LoggedPast(history, lineages)
    try:
        await Scheduler(books, PreviewCaller(plan, models), past, counts, Stop(), window=_WINDOW).run()
    finally:
        past.close()
    # Pairs of samples that are not judged yet, which every call of is to be made for.
    unopened = {each.plan.name: each.unopened for each in books if isinstance(each, Pairs)}
    found = []
    for cohort in (each.plan for each in books):
        for step in cohort.asking:
            new = counts.new[cohort.name, step.name] + unopened.get(cohort.name, 0)
            mean = history.mean_tokens(step.name, step.model)
            found.append(
                _price(plan, settings, cohort.name, cohort.steps, step, new, cohort.quota - new, mean)
            )
    return found


class _Counting:
    """A ledger that counts the steps which the log cannot answer."""

    def __init__(self) -> None:
        self.new: Counter[tuple[str, str]] = Counter()

    def accepted(self, sample: Sample, step: StepPlan, attempt: int, answer: Answer) -> None:
        """In the log already."""

    def rejected(self, sample: Sample, step: StepPlan, attempt: int, answer: Answer, why: Rejected) -> None:
        """In the log already."""

    def refused(self, sample: Sample, step: str, why: Rejected) -> None:
        """Its replacement is previewed in its turn."""

    def completed(self, sample: Sample) -> None:
        """Every call of it is in the log."""

    def abandoned(self, sample: Sample, step: str, reason: str, lasting: bool) -> None:
        """Its replacement is previewed in its turn."""

    def pending(self, sample: Sample, steps: tuple[str, ...]) -> None:
        for step in asking(sample.cohort.step(name) for name in steps):
            self.new[sample.cohort.name, step.name] += 1


def _price(
    plan: Plan,
    settings: Settings,
    cohort: str,
    steps: tuple[StepPlan, ...],
    step: StepPlan,
    new: int,
    reused: int,
    measured: tuple[float, float] | None,
) -> StepCost:
    assert step.model is not None
    prompt, completion = measured or _guess(steps, step)
    price: Price | None = settings.price(settings.spec(plan.model(step.model)))
    cost = None if price is None else new * (prompt * price.input + completion * price.output) / 1e6
    return StepCost(
        cohort, step.name, step.model, new, reused, prompt, completion, measured is not None, cost
    )


def _guess(earlier: tuple[StepPlan, ...], step: StepPlan) -> tuple[float, float]:
    """Tokens of a prompt from its text, and of an answer from what bounds it."""
    steps = {each.name: each for each in earlier}
    characters = 0
    for template in (step.system, step.prompt):
        for part in template or ():
            characters += (
                len(part) if isinstance(part, str) else _answer(steps.get(part.path[0])) * _CHARACTERS
            )
    if step.sees == "transcript":
        characters += sum(_answer(steps[name]) * _CHARACTERS for name in step.needs)
    return characters / _CHARACTERS, float(_answer(step))


def _answer(step: StepPlan | None) -> int:
    if step is None:
        return 10
    if step.value is not None:
        return sum(len(part) if isinstance(part, str) else 40 for part in step.value) // _CHARACTERS
    if isinstance(step.output, JsonOutput):
        return len(canonical_json(step.output.schema_)) // _CHARACTERS
    bounds = [_longest(check.arguments["characters"]) for check in step.checks if check.name == "length"]
    most = min(bounds, default=_UNKNOWN_ANSWER)
    return max(1, min(most, step.sampling.max_tokens or most))


def _longest(bounds: object) -> int:
    """Tokens of an answer half as long as a length check allows."""
    high = bounds[1] if isinstance(bounds, list) else None
    return high // 2 // _CHARACTERS if isinstance(high, int) else _UNKNOWN_ANSWER
