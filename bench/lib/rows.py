"""A table of rows for benchmarks: the same for the same number, about 1 KB each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from string import ascii_lowercase

_WORDS = 4_000
_BODY = 880


def table(path: Path, rows: int) -> Path:
    """JSON Lines with an id, a text, a category, a number and a column that is no field; made once."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random = Random(1)
    words = ["".join(random.choices(ascii_lowercase, k=random.randint(2, 9))) for _ in range(_WORDS)]
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {
                "id": f"t{number}",
                "body": " ".join(random.choices(words, k=150))[:_BODY],
                "category": ("billing", "delivery")[number % 2],
                "stars": number % 5 + 1,
                "beside": {"number": number, "licence": "cc0"},
            }
            file.write(json.dumps(row) + "\n")
    os.replace(draft, path)
    return path
