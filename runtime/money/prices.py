"""What a model's tokens cost, as `synth.toml` or a kept list says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from synth.base.canonical import Frozen

# Of an answer without `max_tokens`, where nobody says how long it can get.
DEFAULT_OUTPUT_LIMIT = 16_384
# The longest answers of models by the beginnings of their ids, as their makers give them; the last
# that fits counts.
OUTPUT_LIMITS = {
    "gpt-3.5": 4_096,
    "gpt-4-turbo": 4_096,
    "gpt-4o": 16_384,
    "gpt-4.1": 32_768,
    "gpt-5": 128_000,
    "o1": 100_000,
    "o3": 100_000,
    "o4": 100_000,
    "gemini": 65_536,
    "gemini-1.5": 8_192,
    "gemini-2.0": 8_192,
    "claude": 128_000,
    "deepseek": 65_536,
    "qwen": 65_536,
    "grok": 131_072,
    "glm": 131_072,
    "kimi": 262_144,
}

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rates(Frozen):
    """Money per million tokens.  What is not given for a part costs what the whole does."""

    input: Money
    output: Money
    cached_input: Money | None = None
    reasoning: Money | None = None


class Tier(Rates):
    """The rates of a call whose prompt has more than `over` tokens."""

    over: Annotated[int, Field(ge=0)]


class Price(Rates):
    """What a call costs, in whatever unit the user counts in.

    `call` is money for each call, whatever its tokens; `output_limit` the most tokens of an answer
    to a call that sets no `max_tokens`.
    """

    call: Money = 0.0
    output_limit: Annotated[int, Field(ge=1)] | None = None
    tiers: tuple[Tier, ...] = ()

    @field_validator("tiers")
    @classmethod
    def _ascending(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        return tuple(sorted(tiers, key=lambda tier: tier.over))

    def cost(
        self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0, reasoning_tokens: int = 0
    ) -> float:
        """Money for one call; cached tokens are among the prompt's, reasoning among the completion's."""
        rates = self._rates(prompt_tokens)
        cached = rates.input if rates.cached_input is None else rates.cached_input
        reasoning = rates.output if rates.reasoning is None else rates.reasoning
        total = (
            (prompt_tokens - cached_tokens) * rates.input
            + cached_tokens * cached
            + (completion_tokens - reasoning_tokens) * rates.output
            + reasoning_tokens * reasoning
        )
        return self.call + total / 1e6

    def most(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The most that a call of so many tokens can cost, whatever of them is cached or reasoning."""
        return max(
            self.cost(prompt_tokens, completion_tokens, cached, reasoning)
            for cached in (0, prompt_tokens)
            for reasoning in (0, completion_tokens)
        )

    def _rates(self, prompt_tokens: int) -> Rates:
        rates: Rates = self
        for tier in self.tiers:
            if prompt_tokens > tier.over:
                rates = tier
        return rates


@dataclass(frozen=True, slots=True)
class Priced:
    """A price and who says it: `synth.toml`, or a list with its version and its name for the model."""

    price: Price
    source: str


def output_limit(price: Price, id_: str, max_tokens: int | None) -> int:
    """The most tokens that an answer can have."""
    if max_tokens is not None:
        return max_tokens
    if price.output_limit is not None:
        return price.output_limit
    name = id_.rpartition("/")[2]
    known = [limit for start, limit in OUTPUT_LIMITS.items() if name.lower().startswith(start)]
    return known[-1] if known else DEFAULT_OUTPUT_LIMIT
