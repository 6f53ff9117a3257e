"""For tools that pass on no seed: what tells one call from another is then its text alone."""

from __future__ import annotations

from bench.lib.workload import persona_prompt


def numbered_prompt(number: int) -> str:
    """The prompt for a persona, unlike those of all other samples."""
    return f"{persona_prompt(number)}\nThis is persona number {number}."
