"""Arguments for one call of every check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARGUMENTS: dict[str, Mapping[str, Any]] = {
    "length": {"characters": [1, 10]},
    "sentences": {"count": [1, 2]},
    "starts_with": {"prefix": "You are"},
    "ends_with": {"suffix": "?"},
    "opens_with_any": {"words": ["Yes, it is", "نعم", "!?", "- well"]},
    "no_words": {"words": ["as an AI", "certainly!", "مساعد", "سؤال رائع", "! ?", "助手"]},
    "no_emoji": {},
    "max_repetition": {"ngram": 4, "share": 15},
    "script": {"words": ["Arabic", "Latin"]},
    "language": {"words": ["ar", "en"]},
    "no_bidi_controls": {},
    "distinct": {"similarity": 0.9},
    "turns": {"count": [2, 4]},
    "alternates": {"first": "user", "second": "model"},
    "every": {"role": "model", "has": "thought"},
    "json_valid": {},
    "supported_by": {"evidence": [{"text": "كان 12 as an AI"}], "share": 60},
}
