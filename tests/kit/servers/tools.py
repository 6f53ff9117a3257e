"""Tools on the loopback servers: who calls what, and what a strict service says of wrong requests.

A server that is asked with tools calls each of them once, one after the other, with arguments that fit their
schemas, and then speaks: that is what `one_by_one` does, and every server by default.  Others are given as
`answer`, and so is any function that gives `Calling`:

    OpenAIServer(answer=together)        # all tools in one message, then text
    OpenAIServer(answer=never)           # text, whatever tools there are
    OpenAIServer(answer=always)          # the first tool again and again
    OpenAIServer(answer=lambda asked: Calling((("refund", {"number": "A-1"}),), said="One moment."))

What was called since the user last spoke is `asked.called`, and what it came to `asked.results`, in order.
Faults of calls are those of `FaultPlan`, drawn for requests with tools alone: `bad_arguments` (half of their
JSON), `unknown_tool` (a name that nobody gave), `cut_call` (the limit of tokens in the middle of a call); all
others, such as `server_error` and `cut`, meet the requests between two calls too.

Both servers refuse, with 400 as the services do, a conversation in which not every call has its result behind
it; the Gemini server also wants back the signature that it gave with the first call of each message, and with
calls that it never gave the mark that the service's documentation has for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.kit.servers.answers import answer, instance

if TYPE_CHECKING:
    from tests.kit.servers.loopback import Asked

UNKNOWN = "look_up_nothing"


@dataclass(frozen=True, slots=True)
class Calling:
    """An answer that calls tools: names with their arguments, and what is said and thought beside them.
    Arguments that are a text go out as they stand, where the protocol has a text."""

    calls: tuple[tuple[str, Any], ...]
    said: str = ""
    thought: str = ""
    cut: bool = False


def one_by_one(asked: Asked) -> str | Calling:
    """Calls the first tool that was not called since the user last spoke; then it speaks."""
    left = [tool for tool in asked.tools if tool["name"] not in asked.called]
    return Calling((fitting(left[0], asked.key),)) if left else answer(asked.key, asked.schema)


def together(asked: Asked) -> str | Calling:
    """Calls all tools in one message; then it speaks."""
    if asked.called or not asked.tools:
        return answer(asked.key, asked.schema)
    return Calling(tuple(fitting(tool, asked.key) for tool in asked.tools), said="Let me look.")


def never(asked: Asked) -> str:
    return answer(asked.key, asked.schema)


def always(asked: Asked) -> str | Calling:
    """Calls the first tool whatever came before."""
    return Calling((fitting(asked.tools[0], asked.key),)) if asked.tools else never(asked)


def fitting(tool: Mapping[str, Any], seed: str) -> tuple[str, Any]:
    """A tool's name with arguments that fit its schema."""
    return tool["name"], instance(tool["parameters"], f"{seed}/{tool['name']}")


def spoilt(given: Calling, fault: str | None) -> Calling:
    """Calls as a faulty model or service would give them."""
    *before, (name, arguments) = given.calls
    if fault == "unknown_tool":
        return Calling((*before, (UNKNOWN, arguments)), given.said, given.thought)
    if fault in ("bad_arguments", "cut_call"):
        text = json.dumps(arguments, ensure_ascii=False)
        half = text[: len(text) // 2]
        return Calling((*before, (name, half)), given.said, given.thought, cut=fault == "cut_call")
    return given
