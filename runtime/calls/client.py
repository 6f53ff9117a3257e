"""One answer for one attempt of one step: from the log when it is there, else from an engine.

A `ModelClient` is what stands between a sample and the models.  The live one limits, retries and
records; the preview counts what would be issued; the replay takes the log for the only engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import StepPlan
from synth.runtime.calls.attempt import Answer, Attempt, CacheMiss, CallAbandoned, Rows, ToolAnswer, Unheld
from synth.runtime.calls.breaker import Breakers, Held
from synth.runtime.calls.models import Models
from synth.runtime.calls.prompt import logged_call, logged_message, make_call, model_of, sampling_json
from synth.runtime.calls.retry import Tries, note_tokens
from synth.runtime.calls.rules import CURRENT, Rules
from synth.runtime.engines.base import ToolCall
from synth.runtime.engines.thinking import joined, split
from synth.runtime.events.budget import RunBudget
from synth.runtime.events.progress import Progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.functions.asked import Application, Fault, Result, found, given
from synth.runtime.retrieval.service import Indexes, LookUp, Passages
from synth.store.log.events import Kind
from synth.store.log.past.history import History
from synth.store.log.past.logged import LoggedCall
from synth.store.log.payloads import AttemptColumns, CallCompleted, ToolDone
from synth.store.log.served import is_another

if TYPE_CHECKING:
    from synth.runtime.functions.service import Functions


class LiveClient:
    """Asks the engines, within limits, and records what they say."""

    def __init__(
        self,
        plan: Plan,
        models: Models,
        indexes: Indexes,
        recorder: Recorder,
        stop: RunBudget,
        progress: Progress,
        history: History,
        breakers: Breakers | None = None,
        functions: Functions | None = None,
        held: Rows | None = None,
    ) -> None:
        self.plan = plan
        self.held = held or Unheld()
        self._functions = functions
        self._breakers = breakers or Breakers()
        self._models = models
        self._indexes = indexes
        self._recorder = recorder
        self._stop = stop
        self._progress = progress
        self._tries = Tries(models, recorder, stop, progress, self._breakers, plan.seed, history)

    def rules(self, sample_id: str) -> Rules:
        return CURRENT

    async def call(self, attempt: Attempt) -> Answer:
        step, model = attempt.step, model_of(self._models, attempt.step)
        call = make_call(self.plan, model, attempt)
        known = attempt.earlier.calls.get(call.key)
        if known is not None:
            # It costs no call, but its verdict and its sample are events as well.
            await self._recorder.room()
            self._progress.reused(step)
            return logged(known)
        columns: AttemptColumns = {
            "sample_id": attempt.sample_id,
            "step": step.name,
            "attempt": attempt.place.round,
            "model": step.model,
        }
        await self._models.ready(model)
        while True:
            await self._breakers.ready(step)
            try:
                completion, usage, cost = await self._tries.ask(model, step, call, columns)
            except Held:
                continue
            break
        text, inner = split(completion.text)
        thought = joined(completion.thought, inner)
        payload: CallCompleted = {
            "call_key": call.key,
            "identity": model.identity,
            "engine": model.engine.version,
            "messages": [
                logged_message(message)
                if message.calls or message.name
                else {"role": message.role, "content": message.content}
                for message in call.messages
            ],
            "token_ids": list(call.token_ids) if call.token_ids is not None else None,
            "schema": call.schema,
            "sampling": sampling_json(call.sampling),
            "seed": call.seed,
            "text": text,
            "finish_reason": completion.finish_reason,
            "cached_tokens": usage.cached_tokens,
            "served_by": completion.served_by,
        }
        note_tokens(payload, usage)
        if thought is not None:
            payload["thought"] = thought
        if attempt.place.candidate:
            payload["candidate"] = attempt.place.candidate
        if completion.odd:
            payload["odd"] = list(completion.odd)
        if call.tools:
            payload["tools"] = call.tools
            if completion.calls:
                payload["calls"] = [logged_call(each) for each in completion.calls]
            if completion.malformed is not None:
                payload["malformed"] = completion.malformed
            if attempt.exchange:
                payload["exchange"] = attempt.exchange
        if call.scored is not None:
            payload["scored"] = call.scored
            payload["logprob"] = completion.logprob
            payload["scored_tokens"] = completion.scored_tokens
        seq = self._recorder.emit(
            Kind.CALL_COMPLETED,
            payload,
            **columns,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            latency_ms=completion.latency_ms,
        )
        self._progress.completed(step, usage, cost)
        asked, served = model.engine.identity.id, completion.served_by
        if served is not None and is_another(asked, served):
            self._progress.served_by(step.model, asked, served)
        return Answer(
            text,
            completion.finish_reason,
            seq,
            call.key,
            reused=False,
            logprob=completion.logprob,
            scored_tokens=completion.scored_tokens,
            thought=thought,
            calls=completion.calls,
            malformed=completion.malformed,
        )

    async def look_up(self, lookup: LookUp) -> Passages:
        from synth.runtime.retrieval.errors import RetrievalShort

        try:
            return await self._indexes.look_up(lookup, self._recorder)
        except RetrievalShort as short:
            # Another run may find other documents there.
            raise CallAbandoned(str(short), lasting=False) from None

    async def apply(self, asked: Application) -> Result | Fault:
        assert self._functions is not None, "a plan that calls functions is run with them"
        return await self._functions.apply(asked, self._recorder)

    async def answered(self, answer: ToolAnswer) -> None:
        known = answer.earlier.tools.get(answer.key)
        if known is not None and (known.get("result"), known.get("fault")) == (answer.result, answer.fault):
            return
        await self._recorder.room()
        call = answer.asked.calls[answer.number]
        payload: ToolDone = {
            "key": answer.key,
            "call": answer.asked.seq,
            "number": answer.number,
            "name": call.name,
            "arguments": call.arguments,
        }
        if answer.fault is None:
            payload["result"] = answer.result
        else:
            payload["fault"] = answer.fault
        if answer.place.candidate:
            payload["candidate"] = answer.place.candidate
        self._recorder.emit(
            Kind.TOOL_DONE,
            payload,
            sample_id=answer.sample_id,
            step=answer.step.name,
            attempt=answer.place.round,
        )


@dataclass(slots=True)
class Dialogue:
    """How far an attempt at a step with tools has come: what it called, and what of its last message is
    still to be answered."""

    called: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def to_call(self, step: StepPlan) -> list[str]:
        """The tools that it is taken to call yet, each once, before it speaks."""
        left = [tool.name for tool in step.tools if tool.name not in self.called]
        return left[: max(0, step.max_tool_calls - len(self.called))]


# By sample and step, those under way by candidate.
Dialogues = defaultdict[tuple[str, str], dict[int, Dialogue]]


class PreviewClient:
    """Answers from the log alone and raises CacheMiss where a call would be issued, which is counted as
    `missed` by sample and step; in `dialogues` stand those with tools that were not brought to an end."""

    def __init__(
        self,
        plan: Plan,
        models: Models,
        held: Rows | None = None,
        *,
        missed: Counter[tuple[str, str]] | None = None,
        dialogues: Dialogues | None = None,
        simulated: bool = False,
    ) -> None:
        self.plan = plan
        self.held = held or Unheld()
        self._simulated = simulated
        self._models = models
        self._missed = Counter() if missed is None else missed
        self._dialogues = Dialogues(dict) if dialogues is None else dialogues

    def rules(self, sample_id: str) -> Rules:
        return CURRENT

    async def call(self, attempt: Attempt) -> Answer:
        call = make_call(self.plan, model_of(self._models, attempt.step), attempt)
        known = attempt.earlier.calls.get(call.key)
        if attempt.step.tools:
            self._follow(attempt, known)
        if known is None:
            self._missed[attempt.sample_id, attempt.step.name] += 1
            raise CacheMiss
        return logged(known)

    def _follow(self, attempt: Attempt, known: LoggedCall | None) -> None:
        names = [] if known is None else [each["name"] for each in known.calls]
        under_way = self._dialogues[attempt.sample_id, attempt.step.name]
        if attempt.exchange == 0:
            under_way[attempt.place.candidate] = Dialogue()
        dialogue = under_way[attempt.place.candidate]
        dialogue.called += names
        dialogue.waiting = names
        if known is not None and (not names or len(dialogue.called) > attempt.step.max_tool_calls):
            del under_way[attempt.place.candidate]

    async def look_up(self, lookup: LookUp) -> Passages:
        return logged_passages(lookup)

    async def apply(self, asked: Application) -> Result | Fault:
        from synth.runtime.functions.service import files_of

        files = {} if self._simulated else await files_of(asked, self.plan.folder)
        known = found(asked, files, self._simulated)
        if known is not None:
            return given(known)
        if asked.is_check:
            # As of answers, it is not foreseen what will be refused.
            return Result(None)
        raise CacheMiss

    async def answered(self, answer: ToolAnswer) -> None:
        """Nothing is written."""
        self._dialogues[answer.sample_id, answer.step.name][answer.place.candidate].waiting.pop(0)


def logged_passages(lookup: LookUp) -> Passages:
    """The passages that the log has.  Raises CacheMiss."""
    if lookup.known is None:
        raise CacheMiss
    return lookup.known.passages


def logged(call: LoggedCall, rules: Rules = CURRENT) -> Answer:
    """An answer that the log has, to be judged by some rules: a call of an earlier version can have
    its thinking in its text."""
    text, thought = call.text, call.thought
    if rules.splits_thinking:
        text, inner = split(text, first=rules.first_tags)
        thought = joined(thought, inner)
    return Answer(
        text,
        call.finish_reason,
        call.seq,
        call.call_key,
        reused=True,
        logprob=call.logprob,
        scored_tokens=call.scored_tokens,
        thought=thought,
        calls=tuple(ToolCall(each["name"], each["arguments"], each.get("signature")) for each in call.calls),
        malformed=call.malformed,
    )
