"""What each backend can do, as far as a recipe may rely on it.

The compiler checks claims against this table; the engines themselves live in the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backend:
    """`needs_id` is False for a backend that is one model; `pinned` when its weights cannot
    change under a name, so `frozen` needs no revision; `hosted` when somebody else runs it, who may
    charge for it."""

    name: str
    capabilities: tuple[str, ...]
    arguments: tuple[str, ...]
    example: str
    needs_id: bool = True
    pinned: bool = False
    hosted: bool = False


BACKENDS: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "vllm",
            ("chat", "json", "tools", "template", "embed", "logprobs", "frozen"),
            ("revision", "adapter"),
            'vllm("google/gemma-3-1b-it", revision = "<commit>")',
        ),
        Backend(
            "transformers",
            ("chat", "json", "tools", "template", "embed", "logprobs", "frozen"),
            ("revision",),
            'transformers("google/gemma-3-1b-it", revision = "<commit>")',
        ),
        Backend("gemini", ("chat", "json", "tools", "embed"), (), 'gemini("gemini-2.5-flash")', hosted=True),
        Backend("openai", ("chat", "json", "tools", "embed"), (), 'openai("gpt-4o")', hosted=True),
        Backend(
            "pocket",
            ("chat", "json", "template", "embed", "logprobs", "frozen"),
            (),
            "pocket()",
            needs_id=False,
            pinned=True,
        ),
        Backend("simulated", ("chat", "json", "tools", "embed"), (), "simulated()", needs_id=False),
    )
}
