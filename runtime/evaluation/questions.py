"""Held-out questions with the facts that a right answer holds."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Question:
    """`facts` are what a right answer must hold, each in one of some wordings."""

    id: str
    question: str
    answer: str
    facts: tuple[tuple[str, ...], ...] = ()

    def missing(self, answer: str) -> list[str]:
        """The facts, in their first wording, that an answer does not hold.  A wording counts only
        where it does not stand inside a longer word or number."""
        said = _folded(answer)
        return [fact[0] for fact in self.facts if not any(_holds(said, _folded(way)) for way in fact)]


@lru_cache(maxsize=16)
def read_questions(folder: Path, path: str) -> Sequence[Question]:
    """The questions of a JSONL file: `question`, `answer`, and optionally `id` and `facts`.

    Raises ConfigError with the file and line of the first that is none.
    """
    try:
        lines = (folder / path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path}: the questions cannot be read ({reason})") from None
    found = list(_read(path, lines))
    if not found:
        raise ConfigError(
            f"{path} holds no question: each line is a JSON object with `question` and `answer`"
        )
    return tuple(found)


def _read(path: str, lines: list[str]) -> Iterator[Question]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number} is not JSON ({error})") from None
        if not (
            isinstance(entry, dict)
            and all(isinstance(entry.get(key), str) and entry[key].strip() for key in ("question", "answer"))
        ):
            raise ConfigError(f"{path}:{number} is no question: it needs the texts `question` and `answer`")
        yield Question(
            str(entry.get("id", number)), entry["question"], entry["answer"], _facts(path, number, entry)
        )


def _facts(path: str, number: int, entry: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    found = []
    for fact in entry.get("facts", ()):
        ways = (fact,) if isinstance(fact, str) else fact
        if not isinstance(ways, list | tuple) or not ways or not all(isinstance(way, str) for way in ways):
            raise ConfigError(f"{path}:{number}: `facts` holds texts, or lists of wordings of one fact")
        found.append(tuple(ways))
    return tuple(found)


def _holds(said: str, way: str) -> bool:
    start = said.find(way)
    while start >= 0:
        end = start + len(way)
        before, after = said[start - 1 : start], said[end : end + 1]
        if not (before.isalnum() and way[:1].isalnum()) and not (after.isalnum() and way[-1:].isalnum()):
            return True
        start = said.find(way, start + 1)
    return False


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
