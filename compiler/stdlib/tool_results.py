"""What a model is told of its calls of tools."""

from __future__ import annotations

from typing import Any

from synth.base.canonical import canonical_json


def told(result: Any, fault: str | None = None) -> str:
    """The text of a tool's message: a result that is text as it stands, other JSON in its canonical
    form, and a fault as `{"error": "..."}`."""
    if fault is not None:
        return canonical_json({"error": fault})
    return result if isinstance(result, str) else canonical_json(result)
