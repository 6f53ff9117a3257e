"""Vectors of texts: from the index's memory, else from its embedder, and then remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from synth.base.errors import AccessDenied, CallFailed, EngineDied, EngineError
from synth.base.text import spoken
from synth.runtime.events.budget import RunBudget, Stopped
from synth.runtime.retrieval.embedders.base import Embedder, Purpose, embedder_name
from synth.runtime.retrieval.state import State
from synth.runtime.service.limiter import backoff
from synth.runtime.service.patience import Patience
from synth.runtime.service.service import MOST_STRIKES, WORTH_SAYING_S

if TYPE_CHECKING:
    import numpy as np

# A call whose key or model was refused is tried once more, where others were answered.
_TRIES_DENIED = 1

OnProgress = Callable[[int, int], None]


class Vectors:
    """A text is embedded once for each purpose, whatever happens between: its vector is in the
    state before it is used.

    An embedder that does not answer is waited for with `patience`.  Raises EngineError
    where there can be no vector, and Stopped where the run is told to stop.
    """

    def __init__(
        self,
        embedder: Embedder,
        state: State,
        stop: RunBudget | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.name = embedder_name(embedder)
        self._embedder = embedder
        self._state = state
        self._started: asyncio.Future[None] | None = None
        self._asked: dict[str, None] = {}
        self._asking = asyncio.Lock()
        self._random = Random()
        self._stop = stop or RunBudget()
        self._patience = patience or Patience.of()
        self._absent: str | None = None
        self._answers = 0
        self._silent_since: float | None = None

    async def embed_passages(self, texts: Callable[[], Iterator[str]], on_progress: OnProgress) -> int:
        """Makes the vectors that are missing; `texts` is run through twice.  How many were made."""
        total = await asyncio.to_thread(lambda: sum(1 for _ in self._all_missing(texts())))
        if total == 0:
            return 0
        done = 0
        on_progress(done, total)
        waiting: set[asyncio.Task[int]] = set()
        try:
            for batch in _batches(self._all_missing(texts()), self._embedder.batch):
                if self._stop.stopping:
                    raise Stopped
                waiting.add(asyncio.ensure_future(self._embed(batch, "passage")))
                while len(waiting) >= self._embedder.concurrency:
                    ready, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    done += sum(await asyncio.gather(*ready))
                    on_progress(done, total)
            for task in waiting:
                done += await task
            on_progress(done, total)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return done

    def passages(self, texts: Sequence[str]) -> list[bytes]:
        """The vectors of passages that are embedded."""
        keys = [self._key(text, "passage") for text in texts]
        known = self._state.vectors(keys)
        return [known[key] for key in keys]

    async def query(self, text: str) -> np.ndarray[Any, Any]:
        """The vector of one query.  Those asked for while others are embedded go together."""
        import numpy as np

        key = self._key(text, "query")
        if not (known := self._state.vectors([key])):
            self._asked[text] = None
            try:
                async with self._asking:
                    if not (known := self._state.vectors([key])):
                        others = (other for other in self._asked if other != text)
                        await self._embed([text, *islice(others, self._embedder.batch - 1)], "query")
                        known = self._state.vectors([key])
            finally:
                self._asked.pop(text, None)
        vector: np.ndarray[Any, Any] = np.frombuffer(known[key], "<f4")
        return vector

    async def close(self) -> None:
        if self._started is not None:
            await asyncio.wait([self._started])
            await self._embedder.close()

    def _all_missing(self, texts: Iterable[str]) -> Iterator[str]:
        for batch in _batches(texts, 500):
            yield from self._missing(batch, "passage")

    def _missing(self, texts: Sequence[str], purpose: Purpose) -> list[str]:
        keys = {self._key(text, purpose): text for text in texts}
        known = self._state.vectors(list(keys))
        return [text for key, text in keys.items() if key not in known]

    async def _embed(self, texts: Sequence[str], purpose: Purpose) -> int:
        import numpy as np

        await self._ready()
        vectors = [np.asarray(vector, "<f4") for vector in await self._ask(texts, purpose)]
        if not all(vector.ndim == 1 and np.isfinite(vector).all() and vector.any() for vector in vectors):
            raise EngineError(f"the embedder {self.name} gave a vector that points nowhere: choose another")
        keys = [self._key(text, purpose) for text in texts]
        self._state.add_vectors({key: vector.tobytes() for key, vector in zip(keys, vectors, strict=True)})
        return len(texts)

    async def _ask(self, texts: Sequence[str], purpose: Purpose) -> Sequence[Sequence[float]]:
        tries = strikes = 0
        seen = self._answers
        while True:
            try:
                vectors = await self._embedder.embed(texts, purpose)
            except AccessDenied as denial:
                if not self._answers or denial.final or tries >= _TRIES_DENIED:
                    raise EngineError(denial.verdict) from None
                failure: CallFailed = denial
            except CallFailed as error:
                failure = error
                if not failure.retryable:
                    raise EngineError(
                        f"the embedder {self.name} refused a call ({failure.kind}: {failure})"
                    ) from None
            else:
                self._answers += 1
                self._silent_since = self._absent = None
                return vectors
            tries += 1
            # Who answers with what is no answer, and never otherwise, is not waited for either.
            strikes += seen != self._answers or (failure.kind == "malformed" and not self._answers)
            seen = self._answers
            await self._stop.pause(self._wait(tries, strikes, failure))

    def _wait(self, tries: int, strikes: int, failure: CallFailed) -> float:
        """Seconds until a call is tried again.  Raises EngineDied when patience is over, or when this
        call fails again and again while others are answered, or with an answer that is none."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        self._patience.pause(failure)
        self._absent = str(failure) if failure.unreached and not self._answers else None
        left = self._silent_since + self._waits - now
        if strikes >= MOST_STRIKES or left <= 0.0:
            what = (
                "check its address; a server that is still starting is waited for with --patience"
                if self._absent
                else "what is done is safe: run again when it is back, or wait longer with --patience"
            )
            raise EngineDied(
                f"the embedder {self.name} has not answered {tries} tries in a row (last: {failure}); {what}"
            )
        wait = backoff(tries, failure.retry_after, self._random)
        return min(wait, max(left, failure.retry_after or 0.0))

    @property
    def waiting_for(self) -> list[str]:
        """What is to be said of an embedder that does not answer."""
        since = self._silent_since
        silence = 0.0 if since is None else time.monotonic() - since
        if silence < WORTH_SAYING_S:
            return []
        return [
            f"the embedder {self.name} has not answered for {spoken(silence)}"
            f"{f' ({self._absent})' if self._absent else ''}, waiting up to {spoken(self._waits)}"
        ]

    @property
    def _waits(self) -> float:
        return self._patience.nobody if self._absent else self._patience.seconds

    async def _ready(self) -> None:
        """Starts the embedder when it is first needed."""
        if self._started is None:
            self._started = asyncio.ensure_future(self._embedder.start())
        if not self._started.done():
            await asyncio.shield(self._started)
        self._started.result()

    def _key(self, text: str, purpose: Purpose) -> bytes:
        parts = "\0".join((self.name, purpose, text))
        return sha256(parts.encode("utf-8", "surrogatepass")).digest()


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    texts = iter(texts)
    while batch := list(islice(texts, size)):
        yield batch
