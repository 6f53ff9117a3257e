"""What one call took, as the service says or as it is counted here."""

from __future__ import annotations

from typing import NamedTuple

from synth.base.canonical import canonical_json
from synth.base.errors import CallFailed
from synth.runtime.engines.base import Call, Completion
from synth.runtime.money.tokens import count, count_messages


class Usage(NamedTuple):
    """Tokens of one call.  `cached_tokens` are among the prompt's, `reasoning_tokens` among the
    completion's; `estimated` says that some were counted here."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


NOTHING = Usage()


def of_completion(call: Call, completion: Completion) -> Usage:
    """What an answer took.  No prompt is without tokens, and no text: where there are none, the
    service did not count, and they are counted here."""
    prompt, written = completion.prompt_tokens, completion.completion_tokens
    says = completion.text or completion.thought or completion.calls
    counted = prompt > 0 and (written > 0 or not says)
    if not counted:
        if prompt <= 0:
            prompt = count_messages(call.messages) if call.token_ids is None else len(call.token_ids)
        if written <= 0:
            called = [[call.name, dict(call.arguments)] for call in completion.calls]
            written = count(completion.text) + count(completion.thought or "")
            written += count(canonical_json(called)) if called else 0
    return Usage(prompt, written, completion.cached_tokens, completion.reasoning_tokens, not counted)


def of_failure(failure: CallFailed) -> Usage:
    """What a call that failed was charged for all the same, as far as the service said."""
    return Usage(
        failure.prompt_tokens, failure.completion_tokens, failure.cached_tokens, failure.reasoning_tokens
    )
