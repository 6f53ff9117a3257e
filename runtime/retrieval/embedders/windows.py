"""Texts longer than a model reads: in windows, whose vectors count by their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth.runtime.retrieval.embedders.base import Vectors


def token_windows(tokenizer: Any, text: str, length: int) -> list[list[int]]:
    """The token ids of a text, in windows of at most `length` with the marks at both ends."""
    encoded = tokenizer(
        text, truncation=True, max_length=length, return_overflowing_tokens=True, verbose=False
    )
    windows: list[list[int]] = encoded["input_ids"]
    return windows


def merge_windows(vectors: Sequence[Any], tokens: Sequence[int], owners: Sequence[int]) -> Vectors:
    """One unit vector for each owner, from 0, out of its windows' vectors and their tokens."""
    import numpy as np

    count = max(owners, default=-1) + 1
    sums: list[Any] = [np.zeros(len(vectors[0]), np.float64) for _ in range(count)]
    for vector, weight, owner in zip(vectors, tokens, owners, strict=True):
        sums[owner] += np.asarray(vector, np.float64) * weight
    return [(total / (np.linalg.norm(total) or 1.0)).astype(np.float32) for total in sums]
