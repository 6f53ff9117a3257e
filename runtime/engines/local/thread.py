"""Engines whose model runs on this machine: one thread owns the model, coroutines wait.

A call becomes a `PendingRequest` in the thread's inbox; its future is settled on the event loop that
issued it, with one wake-up of the loop for everything that finished together.  Only the thread
touches the model and the tickets in hand, so neither needs a lock.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from queue import SimpleQueue
from typing import Any

from synth.base.errors import CallFailed, EngineDied, EngineError
from synth.base.text import spoken
from synth.compiler.plan.types import Capability
from synth.runtime.engines.base import Call, Completion, EngineSpec, FinishReason, Message, ModelIdentity
from synth.runtime.engines.local.chat_template import ChatTemplate
from synth.runtime.engines.local.checkpoint import cannot_load, first_line, named_weights
from synth.runtime.engines.local.options import ChatOptions
from synth.runtime.engines.local.tools.template import ToolReader

# A model that has not finished a step for so long, in seconds, never will: or for as long as a whole
# answer may take, where that is longer.
_STUCK_S = 600.0
_LOOK_S = 5.0
# Answers that take no longer are not told of while they are written, in seconds.
_LONG_S = 10.0

# Loading changes process-wide state (warning filters, torch's default dtype), so engines take turns.
_LOADING = threading.Lock()


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One call in hand.  `issued` is on the monotonic clock; `number` counts the engine's calls;
    `begun` is what the prompt has of the answer already.  `seated` is when the model began with it,
    and at which of its steps."""

    call: Call
    token_ids: tuple[int, ...]
    future: asyncio.Future[Completion]
    issued: float
    number: int
    begun: str = ""
    seated: tuple[float, int] = (0.0, 0)

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """What the answer is kept to: where a model may call tools, nothing, or it could call none."""
        return None if self.call.tools else self.call.schema

    def completion(
        self, text: str, finish_reason: FinishReason, completion_tokens: int, cached_tokens: int = 0
    ) -> Completion:
        if self.schema is None:
            # A grammar has the answer begin with its JSON, whatever the prompt has opened.
            text = self.begun + text
        return Completion(
            text=text,
            finish_reason=finish_reason,
            prompt_tokens=len(self.token_ids),
            completion_tokens=completion_tokens,
            latency_ms=round((time.monotonic() - self.issued) * 1000),
            cached_tokens=cached_tokens,
        )

    def scores(self, logprobs: Sequence[float]) -> Completion | CallFailed:
        """The answer to a scoring call from the log-probabilities of its scored tokens, in order."""
        assert self.call.scored is not None
        wanted = len(self.token_ids) - self.call.scored
        if len(logprobs) != wanted:
            problem = f"the engine gave {len(logprobs)} of {wanted} token probabilities"
            return CallFailed("server", problem, retryable=True)
        total = math.fsum(logprobs)
        if not math.isfinite(total):
            # The log holds JSON, which has no such number; and a mean over it would be one too.
            return CallFailed("malformed", "the answer has no probability above 0", retryable=False)
        done = self.completion("", "stop", 0)
        return replace(done, logprob=total, scored_tokens=len(logprobs))


# A future and what it is settled with: a value, or an exception that is then raised.
Outcome = tuple["asyncio.Future[Any]", Any]


class LocalEngine(ABC):
    """An `Engine` on this machine.  Subclasses load the model and serve the inbox in the thread.

    The time an answer may take counts from when its call has one of the model's seats.
    """

    adaptive = False

    def __init__(
        self,
        spec: EngineSpec,
        *,
        options: ChatOptions,
        template: ChatTemplate,
        capabilities: Iterable[Capability],
        version: str,
        concurrency: int,
    ) -> None:
        self.identity = ModelIdentity(
            backend=spec.backend,
            id=spec.id,
            revision=spec.revision,
            adapter=spec.adapter,
            template=template.hash,
            request=options.request(template.text),
            weights=named_weights(spec),
        )
        self.notes = options.notes(template.text)
        self.version = version
        self.concurrency = concurrency
        self._spec = spec
        self._template = template
        tools = options.tools(template, spec.name)
        self._reader = tools if isinstance(tools, ToolReader) else None
        self.without_tools = tools if isinstance(tools, str) else ""
        proven: list[Capability] = ["frozen"] if spec.revision is not None and spec.adapter is None else []
        proven += [] if self._reader is None else ["tools"]
        self.capabilities: frozenset[Capability] = frozenset([*capabilities, *proven])
        self._inbox: SimpleQueue[PendingRequest | None] = SimpleQueue()
        self._cancelled: SimpleQueue[int] = SimpleQueue()
        self._in_hand: dict[int, PendingRequest] = {}
        self._outcomes: list[Outcome] = []
        self._numbers = count()
        self._closing = False
        self._timeout = options.timeout
        # Those in hand that the model is at, the first it began with first; it gives each of them a
        # token at every step.
        self._seated: dict[int, PendingRequest] = {}
        self._steps = 0
        self._loading = False
        # When it last finished a step, and last answered.
        self._moved = self._answered_at = time.monotonic()
        self._awaited: dict[int, asyncio.Future[Completion]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._fault: EngineError | None = EngineError(f"{self.identity} has not been started")

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> tuple[int, ...]:
        """The exact prompt tokens.  Raises `CallFailed` when the template refuses."""
        return self._template.render(messages, tools)

    def render_opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The tokens of a conversation up to where the user's next turn begins."""
        return self._template.render_opening(messages)

    def render_answer(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], int]:
        """The tokens of a conversation that ends with an answer, and where the answer begins."""
        return self._template.render_answer(messages)

    def keeps_special(self, call: Call) -> bool:
        """Whether an answer's special tokens are to be in its text, since its calls are told by them."""
        return bool(call.tools) and self._reader is not None and self._reader.keeps_special

    async def start(self) -> None:
        """Load the model.  Raises `EngineError` when that fails."""
        if self._thread is not None:
            raise EngineError(f"{self.identity} was started before")
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A daemon, so that a second Ctrl-C can end the process in the middle of a step.
        self._thread = threading.Thread(
            target=self._main, args=(loaded,), name=f"engine {self.identity}", daemon=True
        )
        self._thread.start()
        await loaded

    async def generate(self, call: Call) -> Completion:
        """One answer.  Cancelling the caller withdraws the call from the model."""
        if call.scored is not None and not 0 < call.scored < len(call.token_ids or ()):
            # Nothing comes before the first token that could make it likely.
            problem = f"there are no tokens to score from index {call.scored} on"
            raise CallFailed("bad_request", problem, retryable=False)
        ids = self.render(call.messages, call.tools) if call.token_ids is None else call.token_ids
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        begun = "" if call.scored is not None or call.opened else self._template.opened_thinking
        self._inbox.put(PendingRequest(call, ids, future, time.monotonic(), number, begun))
        # After the put: a thread that ends empties the inbox once, after it has set the fault.
        if (fault := self._fault) is not None:
            future.cancel()
            raise fault.with_traceback(None)
        self._awaited[number] = future
        if self._looking is None:
            self._look_later()
        try:
            answer = await future
            return self._reader.read(answer, call) if call.tools and self._reader is not None else answer
        except asyncio.CancelledError:
            self._cancelled.put(number)
            raise
        finally:
            del self._awaited[number]

    async def close(self) -> None:
        """Stop the thread and free the model.  Calls still in hand fail."""
        if self._thread is not None:
            self._closing = True
            self._inbox.put(None)
            # Waited for here and not in a thread of its own, which nobody could stop waiting.
            while self._thread.is_alive():
                await asyncio.sleep(0.005)

    @property
    def writing(self) -> tuple[int, int] | None:
        """How many answers are being written and their tokens so far, where none was finished for
        some time.  May be asked from any thread."""
        seated = list(self._seated.values())
        if not seated or time.monotonic() - max(self._answered_at, seated[0].seated[0]) < _LONG_S:
            return None
        return len(seated), sum(self._steps - pending.seated[1] for pending in seated)

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """Gives the model up when it is stuck in a step, from which nobody can call it back."""
        self._looking = None
        if not self._awaited:
            return
        still = time.monotonic() - self._moved
        if self._loading or not self._seated or still < max(self._timeout, _STUCK_S):
            self._look_later()
            return
        self._fault = EngineDied(
            f"{self.identity} has been at one step for {spoken(still)} and is taken to be stuck: "
            "end the process, look at the device, and run again"
        )
        _wake([(future, self._fault) for future in self._awaited.values()])

    # In the thread -----------------------------------------------------------------

    @abstractmethod
    def _load(self) -> None: ...

    @abstractmethod
    def _unload(self) -> None: ...

    @abstractmethod
    def _serve(self) -> None:
        """Answer calls until `_arrivals` returns None."""

    def _main(self, loaded: asyncio.Future[None]) -> None:
        try:
            self._load_quietly()
        except Exception as fault:
            self._fault = fault if isinstance(fault, EngineError) else cannot_load(self._spec, fault)
            self._end()
            _deliver([(loaded, self._fault)])
            return
        self._fault = None
        _deliver([(loaded, None)])
        try:
            self._serve()
            self._fault = EngineError(f"{self.identity} is closed")
        except EngineError as fault:
            self._fault = fault
        except Exception as fault:
            self._fault = EngineDied(f"{self.identity} stopped: {first_line(fault)}")
        self._end()

    def _load_quietly(self) -> None:
        self._loading = True
        with _LOADING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._load()
        self._moved = time.monotonic()
        self._loading = False

    def _end(self) -> None:
        """Free the model and fail whatever still waits with the engine's fault."""
        with suppress(Exception):
            self._unload()
        waiting = list(self._in_hand.values())
        while not self._inbox.empty():
            pending = self._inbox.get()
            if pending is not None:
                waiting.append(pending)
        self._outcomes += [(pending.future, self._fault) for pending in waiting]
        self._hand_over()

    def _arrivals(self, *, wait: bool) -> list[PendingRequest] | None:
        """New calls, now in hand; at least one when `wait`.  None when the engine is to close."""
        arrived = []
        while wait or not self._inbox.empty():
            pending = self._inbox.get()
            if pending is None:
                return None
            if not pending.future.cancelled():
                self._in_hand[pending.number] = pending
                arrived.append(pending)
                wait = False
        return arrived

    def _settle(self, pending: PendingRequest, outcome: Completion | CallFailed) -> None:
        """Take a call out of hand; its caller learns the outcome at the next `_hand_over`."""
        del self._in_hand[pending.number]
        self._seated.pop(pending.number, None)
        self._answered_at = time.monotonic()
        self._outcomes.append((pending.future, outcome))

    def _hand_over(self) -> None:
        """Give the callers everything that was settled."""
        outcomes, self._outcomes = self._outcomes, []
        _deliver(outcomes)

    def _withdrawn(self) -> list[PendingRequest]:
        """The calls in hand whose callers have gone away, taken out of hand."""
        gone = []
        while not self._cancelled.empty():
            # A call that went away before it arrived was never in hand.
            number = self._cancelled.get()
            pending = self._in_hand.pop(number, None)
            self._seated.pop(number, None)
            if pending is not None:
                gone.append(pending)
        return gone

    def _seat(self, pending_requests: Iterable[PendingRequest]) -> None:
        """The model begins with some calls: from now on their time counts."""
        self._moved = now = time.monotonic()
        for pending in pending_requests:
            pending.seated = now, self._steps
            self._seated[pending.number] = pending

    def _stepped(self) -> None:
        self._steps += 1
        self._moved = time.monotonic()

    def _late(self) -> list[PendingRequest]:
        """The calls that had all the time allowed, taken out of hand."""
        since = time.monotonic() - self._timeout
        late = []
        for pending in self._seated.values():
            if pending.seated[0] > since:
                break
            late.append(pending)
        for pending in late:
            written = self._steps - pending.seated[1]
            problem = f"no end within {spoken(self._timeout)}, after {written:,} tokens"
            self._settle(
                pending,
                CallFailed(
                    "timeout",
                    problem,
                    retryable=True,
                    prompt_tokens=len(pending.token_ids),
                    completion_tokens=written,
                ),
            )
        return late


def _deliver(outcomes: Iterable[Outcome]) -> None:
    """Settle futures from the thread, each with a value or an exception, on their own event loops."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for future, outcome in outcomes:
        by_loop[future.get_loop()].append((future, outcome))
    for loop, batch in by_loop.items():
        # A closed loop has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_wake, batch)


def _wake(outcomes: Iterable[Outcome]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, EngineError | CallFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
