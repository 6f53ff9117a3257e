"""Arguments for one call of every check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVIDENCE = [
    {"document": "a.md", "text": "كان 12 as an AI"},
    {"document": "b\u202e.md", "text": "字 1. x 5,0"},
]

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
    "parses_as": {"language": "sql", "dialect": "sqlite"},
    "sql_runs": {"schema": "CREATE TABLE t(a)"},
    "python_runs": {"tests": "assert f() == 1", "seconds": 1, "memory": 512},
    "supported_by": {"evidence": EVIDENCE, "share": 60},
    "verbatim": {"passages": EVIDENCE},
    "draws_on": {"evidence": EVIDENCE, "documents": [2, None]},
    "asks_beyond": {"evidence": EVIDENCE, "share": 80},
    "contains": {"phrase": "not مساعد 助手!"},
    "differs_from": {"other": "كان 12 as an AI", "similarity": 0.8},
    "same": {"one": "كان 12\u202e", "other": ["كان", {"12": None}]},
    "marked": {"range": [1, 4]},
    "no_faults": {},
    "approved_by": {"judge": "m", "question": "Is it so?", "evidence": EVIDENCE},
}
