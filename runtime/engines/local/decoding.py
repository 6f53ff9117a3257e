"""One call being decoded by transformers: its random stream, its grammar, its stops."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.errors import CallFailed
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Completion, FinishReason
from synth.runtime.engines.local.thread import PendingRequest


class Row:
    """One row of a batch.

    Its tokens depend on its own logits and its own generator, never on the rows beside it.
    `limit` is the number of tokens it may produce, `ends` are the ids that end an answer.
    `matcher`, when given, keeps the answer inside a JSON schema.  Special tokens are no part of the text
    unless it `keeps_special` ones.
    """

    def __init__(
        self,
        pending: PendingRequest,
        *,
        tokenizer: Any,
        limit: int,
        ends: Collection[int],
        matcher: Any,
        device: Any,
        keeps_special: bool = False,
    ) -> None:
        import torch

        self.pending = pending
        self.finish_reason: FinishReason | None = None
        self._tokenizer = tokenizer
        self._limit = limit
        self._ends = ends
        self._matcher = matcher
        self._skips_special = not keeps_special
        self._sampling = pending.call.sampling
        self._generator = torch.Generator(device).manual_seed(pending.call.seed & (1 << 63) - 1)
        self._tokens: list[int] = []
        self._text = ""
        # A token holds at least one byte, so this many tokens hold the longest stop in full.
        self._tail = 4 * max(map(len, self._sampling.stop), default=0) + 4

    def advance(self, logits: Any) -> int:
        """Choose the next token from float logits of shape (vocabulary,) and note what it ends."""
        if self._matcher is not None:
            logits = logits.masked_fill(~self._allowed(logits), float("-inf"))
        token = choose(logits, self._sampling, self._generator)
        self._tokens.append(token)
        if token in self._ends:
            self._end("stop", self._decode(self._tokens[:-1]))
        elif self._matcher is not None and self._grammar_done(token):
            self._end("stop", self._decode(self._tokens))
        elif (text := self._before_stop()) is not None:
            self._end("stop", text)
        elif len(self._tokens) == self._limit:
            self._end("length", self._decode(self._tokens))
        return token

    def completion(self) -> Completion:
        """The answer, once `finish_reason` is set; its tokens include the one that ended it."""
        assert self.finish_reason is not None
        return self.pending.completion(self._text, self.finish_reason, len(self._tokens))

    def _end(self, reason: FinishReason, text: str) -> None:
        self.finish_reason = reason
        self._text = text

    def _before_stop(self) -> str | None:
        """The text up to a stop that has just been completed, else None."""
        stops = self._sampling.stop
        if not stops or not any(stop in self._decode(self._tokens[-self._tail :]) for stop in stops):
            return None
        text = self._decode(self._tokens)
        return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]

    def _decode(self, tokens: list[int]) -> str:
        return str(
            self._tokenizer.decode(
                tokens, skip_special_tokens=self._skips_special, clean_up_tokenization_spaces=False
            )
        )

    def _allowed(self, logits: Any) -> Any:
        """The tokens the grammar allows next, as booleans of the logits' shape."""
        import numpy
        import torch

        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        allowed = torch.zeros(logits.shape[-1], dtype=torch.bool)
        mask = torch.from_numpy(numpy.unpackbits(bits, bitorder="little")[: logits.shape[-1]]).bool()
        allowed[: mask.shape[0]] = mask
        return allowed.to(logits.device)

    def _grammar_done(self, token: int) -> bool:
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            raise CallFailed("server", f"the grammar failed: {self._matcher.get_error()}", retryable=True)
        return bool(self._matcher.is_stopped())


def choose(logits: Any, sampling: Sampling, generator: Any) -> int:
    """One token id from logits of shape (vocabulary,).

    Temperature None is 1 and 0 is greedy; then the `top_k` likeliest are kept, then the fewest
    whose probabilities sum to `top_p`.
    """
    import torch

    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    if temperature < 1e-5:
        return int(logits.argmax())
    logits = logits / temperature
    if sampling.top_k is not None and 0 < sampling.top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], float("-inf"))
    chances = torch.softmax(logits, dim=-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = chances.sort(descending=True, stable=True)
        # The first token always stays: nothing precedes it.
        chances = chances.index_fill(0, order[ordered.cumsum(0) - ordered >= sampling.top_p], 0.0)
    return int(torch.multinomial(chances, 1, generator=generator))


def json_matcher(grammar_tokenizer: Any, schema: Mapping[str, Any]) -> Any:
    """A matcher for compact JSON under a schema.  Raises `CallFailed` for a schema it cannot keep."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(
            canonical_json(dict(schema)), defaults={"whitespace_flexible": False}
        )
        problem = LLMatcher.validate_grammar(grammar, grammar_tokenizer)
    except ValueError as fault:
        problem = str(fault)
    if problem:
        raise CallFailed("bad_request", f"the schema cannot be kept: {problem}", retryable=False)
    return LLMatcher(grammar_tokenizer, grammar, log_level=0)
