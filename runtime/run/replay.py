"""Replay: the plan is run again with the log as the only engine, and compared with the log.

Nothing is written and no model is loaded: prompts are composed again from the plan, and each
logged call must be the one they lead to, key and all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import call_seed
from synth.compiler.stdlib.requirements import require_runnable
from synth.runtime.calls.attempt import Answer, Attempt, CacheMiss, CallAbandoned, Place, Rows, ToolAnswer
from synth.runtime.calls.client import logged, logged_passages
from synth.runtime.calls.held import read_held
from synth.runtime.calls.prompt import call_key, logged_message, sampling_json, schema_of
from synth.runtime.calls.rules import CURRENT, Rules, recorded
from synth.runtime.calls.validate import Rejected
from synth.runtime.cohorts.build import open_sample_sources
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.history import LoggedPast
from synth.runtime.cohorts.scheduler import Scheduler
from synth.runtime.cohorts.source import SampleRequest
from synth.runtime.engines.base import Message
from synth.runtime.events.budget import RunBudget
from synth.runtime.events.progress import Progress
from synth.runtime.functions.asked import Application, Fault, Result, given
from synth.runtime.retrieval.service import LookUp, Passages
from synth.runtime.run import loop
from synth.runtime.samples.sample import Sample
from synth.store.dataset.inputs.over_table import Tables
from synth.store.dataset.inputs.select import WrittenBy, logged_config_hash
from synth.store.log.log import Log
from synth.store.log.past.history import History
from synth.store.log.past.logged import Ending, LoggedCall, LoggedSample, keyed

_WINDOW = 1024


@dataclass(slots=True)
class Replayed:
    """`same` samples came out as logged; `diverged` says of each other one how it did not.

    `pending` samples are unfinished in the log as well; of `forgotten` ones it has nothing to compare.
    """

    same: int = 0
    pending: int = 0
    forgotten: int = 0
    diverged: list[str] = field(default_factory=list)


def replay(plan: Plan, log: Log, written_by: WrittenBy | None = None) -> Replayed:
    """Replays every cohort of a plan as the last run made it, or the last that was `written_by` some
    models.  Raises QuotaShort when the log has no run of one."""
    require_runnable(plan)
    return loop.run(_replay(plan, log, written_by))


async def _replay(plan: Plan, log: Log, written_by: WrittenBy | None) -> Replayed:
    history, replayed, stop = History(log), Replayed(), RunBudget()
    config_hashes, models = _config_hashes(plan, log, written_by)
    past = _RememberingPast(history, config_hashes)
    observer = _Comparison(past, replayed)
    tables = Tables(plan, log.cursor, log.next_seq)
    client = _LogClient(plan, models, past, replayed, await read_held(plan, tables))
    # What is forgotten cannot be run again; all else is, as if the log had finished nothing.
    gone = {
        name: history.forgotten(config_hash, versions=name in plan.over_rows)
        for name, config_hash in config_hashes.items()
    }
    replayed.forgotten = sum(len(each.completed) + len(each.abandoned) for each in gone.values())
    try:
        # One conversation after the other, with those over it: each ran with models of its own.
        for some in _families(plan):
            sample_sources = open_sample_sources(
                plan, gone, observer, Progress(plan, "replay"), tables=tables, cohorts=some
            )
            for cohort in sample_sources:
                if isinstance(cohort, Cohort):
                    cohort.patient = True
            await Scheduler(sample_sources, client, past, observer, stop, window=_WINDOW).run()
    finally:
        past.close()
    return replayed


def _families(plan: Plan) -> list[list[CohortPlan]]:
    """The conversations of a plan, each beside those that are over its samples."""
    found: dict[str, list[CohortPlan]] = {}
    for cohort in plan.cohorts:
        root = cohort
        while (parent := plan.parent_of(root)) is not None:
            root = parent
        found.setdefault(root.name, []).append(cohort)
    return list(found.values())


def _config_hashes(
    plan: Plan, log: Log, written_by: WrittenBy | None
) -> tuple[dict[str, str], dict[str, Mapping[str, Any]]]:
    """The lineage of each cohort and preference, and the identities of its models by name."""
    fingerprints = {cohort.name: plan.fingerprint(cohort) for cohort in plan.cohorts}
    for pairs in plan.pair_cohorts:
        fingerprints[pairs.name] = plan.pair_fingerprint(plan.preference(pairs.name))
    found = {
        name: logged_config_hash(name, fingerprint, log.cursor(), log.next_seq, written_by)
        for name, fingerprint in fingerprints.items()
    }
    return {name: config_hash for name, (config_hash, _) in found.items()}, {
        n: m for n, (_, m) in found.items()
    }


class _RememberingPast(LoggedPast):
    """Also fetches how the samples ended, a chunk at a time."""

    def __init__(self, history: History, config_hashes: Mapping[str, str]) -> None:
        super().__init__(history, config_hashes)
        self.endings: dict[str, Ending] = {}
        self._rules = {run_id: recorded(record) for run_id, record in history.rules().items()}

    def rules(self, sample_id: str) -> Rules:
        """The rules that a sample's answers are judged by: those of the run that ended it."""
        ending = self.endings.get(sample_id)
        return CURRENT if ending is None else self._rules[ending.run_id]

    def is_like_forgotten(self, reason: str) -> bool:
        """Whether a sample was given up for its likeness to one that the log has forgotten."""
        return any(reason.endswith(f" sample {name}") for name in self._history.forgotten_names)

    def given_up(self, sample_id: str) -> str | None:
        """The step at which the log gave a sample up."""
        ending = self.endings.get(sample_id)
        return ending.step if ending is not None and ending.values is None else None

    def is_of_rows(self, sample_id: str) -> bool:
        """Whether a sample is made of what rows hold, and is another one where that changes."""
        ending = self.endings.get(sample_id)
        return ending is not None and ending.inputs != ""

    async def calls(self, cohort: str, requests: Sequence[SampleRequest]) -> Mapping[str, LoggedSample]:
        names = [request.name for request in requests]
        running = asyncio.get_running_loop()
        config_hash = self._config_hashes[cohort]
        endings = await running.run_in_executor(self._worker, self._history.endings, config_hash, names)
        self.endings |= {each.name: endings[each.version] for each in requests if each.version in endings}
        calls = await super().calls(cohort, requests)
        for name in calls:
            ending = self.endings.get(name)
            if ending is not None and ending.values is None:
                # How it was lost the last time is what is replayed.
                calls[name].lost.pop()
        return calls


class _Comparison:
    """An observer that writes nothing and compares."""

    def __init__(self, past: _RememberingPast, replayed: Replayed) -> None:
        self._past = past
        self._replayed = replayed

    def accepted(self, sample: Sample, step: StepPlan, place: Place, answer: Answer) -> None:
        """Verdicts are compared by what they lead to."""

    def rejected(self, sample: Sample, step: StepPlan, place: Place, answer: Answer, why: Rejected) -> None:
        """Likewise."""

    def unpicked(self, step: StepPlan) -> None:
        """Likewise."""

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None:
        """Likewise: `abandoned` follows."""

    def completed(self, sample: Sample) -> None:
        ending = self._past.endings.pop(sample.sample_id, None)
        if ending is None:
            # All its answers are there, and its end is not.
            self._replayed.pending += 1
            return
        logged = ending.values
        told = (ending.thoughts, ending.attempts) == (sample.thoughts, sample.attempts)
        if logged == sample.values and told:
            self._replayed.same += 1
            return
        if ending is not None and logged is None and self._past.is_like_forgotten(ending.reason):
            # It was refused for being like one that cannot be compared with any more.
            self._replayed.forgotten += 1
            return
        what = "the log abandoned it" if logged is None else f"its `{_difference(logged, sample)}` differs"
        self._replayed.diverged.append(f"sample {sample.sample_id}: {what}")

    def abandoned(self, sample: Sample, step: str, reason: str, lasting: bool) -> None:
        ending = self._past.endings.pop(sample.sample_id, None)
        if ending is None:
            self._replayed.pending += 1
        elif ending.values is None:
            self._replayed.same += 1
        else:
            self._replayed.diverged.append(f"sample {sample.sample_id}: abandoned at `{step}` ({reason})")

    def pending(self, sample: Sample, steps: tuple[str, ...]) -> None:
        if sample.sample_id not in self._past.endings:
            self._replayed.pending += 1
            return
        self._past.endings.pop(sample.sample_id)
        self._replayed.diverged.append(
            f"sample {sample.sample_id}: the log has no call for `{steps[0]}` as the plan makes it"
        )


def _difference(logged: Mapping[str, Any], sample: Sample) -> str:
    differs = (step for step, value in sample.values.items() if logged.get(step) != value)
    return next(differs, "thoughts` or `attempts")


class _LogClient:
    """Finds the logged call that an attempt leads to.

    The exact tokens of a local model's prompt are taken from the log, since rendering them
    again would need the model's tokenizer; the messages they came from are composed again.
    """

    def __init__(
        self,
        plan: Plan,
        models: Mapping[str, Mapping[str, Any]],
        past: _RememberingPast,
        replayed: Replayed,
        held: Rows,
    ) -> None:
        self.plan = plan
        self.held = held
        self._models = models
        self._past = past
        self._replayed = replayed

    def rules(self, sample_id: str) -> Rules:
        return self._past.rules(sample_id)

    async def call(self, attempt: Attempt) -> Answer:
        step = attempt.step
        assert step.model is not None
        seed = call_seed(self.plan, attempt.sample_id, step.name, *attempt.place)
        shown = tuple(keyed(logged_message(message)) for message in attempt.messages)
        wanted = (step.name, attempt.place.round, seed, shown)
        made = (sampling_json(step.sampling), schema_of(step), self._models[attempt.cohort][step.model])
        for known in attempt.earlier.calls.values():
            if (known.step, known.attempt, known.seed, known.messages) != wanted:
                continue
            if (dict(known.sampling), known.schema, dict(known.identity)) != made:
                continue
            if list(known.tools) != list(step.definitions):
                continue
            if self._key(known, attempt.messages) != known.call_key:
                self._replayed.diverged.append(
                    f"sample {attempt.sample_id}: the key of event {known.seq} is not that of its call"
                )
            return logged(known, self.rules(attempt.sample_id))
        answered = {
            (known.step, known.attempt, known.candidate, known.exchange)
            for known in attempt.earlier.calls.values()
        }
        if (step.name, *attempt.place, attempt.exchange) not in answered or self._past.is_of_rows(
            attempt.sample_id
        ):
            # Of what rows are made of, the answer may be another version's.
            self._give_up(attempt.sample_id, step)
        raise CacheMiss

    async def look_up(self, lookup: LookUp) -> Passages:
        try:
            return logged_passages(lookup)
        except CacheMiss:
            self._give_up(lookup.sample_id, lookup.step)
            raise

    async def apply(self, asked: Application) -> Result | Fault:
        """What the function gave before the sample ended: no code is run, and no file read."""
        ending = self._past.endings.get(asked.sample_id)
        results = asked.earlier.results.get(asked.key, ())
        before = [each for each in results if ending is None or each.seq < ending.seq]
        if before:
            return given(before[-1])
        raise CacheMiss

    async def answered(self, answer: ToolAnswer) -> None:
        """What it leads to is compared: the next call's messages hold it."""

    def _give_up(self, sample_id: str, step: StepPlan) -> None:
        """Raises CallAbandoned where the log did so at this step: it has no answer because there was none."""
        if self._past.given_up(sample_id) == step.name:
            raise CallAbandoned("the log has no answer")

    def _key(self, known: LoggedCall, messages: Sequence[Message]) -> str:
        return call_key(
            known.identity,
            messages,
            known.token_ids,
            known.schema,
            known.sampling,
            known.seed,
            tools=known.tools,
        )
