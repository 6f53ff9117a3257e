"""Held-out questions with the facts that a right answer holds."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.base.text import valid_text
from synth.runtime.documents.paths import inside_project

_FORM = "each line is a JSON object with the texts `question` and `answer`"


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is the reference; `facts` are what a right answer must hold, each in one of some
    wordings."""

    id: str
    question: str
    answer: str
    facts: tuple[tuple[str, ...], ...] = ()

    def missing(self, answer: str) -> list[str]:
        """The facts, in their first wording, that an answer does not hold."""
        said = _folded(answer)
        return [fact[0] for fact in self.facts if not any(_holds(said, _folded(way)) for way in fact)]


def read_questions(folder: Path, written: str, allowed: Sequence[Path] = ()) -> tuple[Question, ...]:
    """The questions of a JSONL file: `question`, `answer`, and optionally `id` and `facts`.  What
    else a line has is left alone.

    `written` is relative to `folder`, the recipe's.  Raises ConfigError with the file and the
    line of the first that is none.
    """
    shown = visible(written)
    path = inside_project(folder, written, allowed, "the questions")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"the questions in {quoted(written, 200)} cannot be read: {reason}") from None
    found: dict[str, Question] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        question = _question(f"{shown}:{number}", number, line)
        if question.id in found:
            raise ConfigError(f"{shown}:{number}: another question has the id {quoted(question.id, 80)}")
        found[question.id] = question
    if not found:
        raise ConfigError(f"{shown} holds no question: {_FORM}")
    return tuple(found.values())


def _question(place: str, number: int, line: str) -> Question:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{place} is not JSON: {_FORM}") from None
    given = entry if isinstance(entry, dict) else {}
    question, answer = given.get("question"), given.get("answer")
    if not (isinstance(question, str) and question.strip() and isinstance(answer, str) and answer.strip()):
        raise ConfigError(f"{place} is no question: {_FORM}")
    name = given.get("id", number)
    if not isinstance(name, str | int) or name == "":
        raise ConfigError(f"{place}: `id` is a text or a number")
    return Question(
        valid_text(str(name)),
        valid_text(question),
        valid_text(answer),
        tuple(_facts(place, given.get("facts", []))),
    )


def _facts(place: str, facts: Any) -> Iterator[tuple[str, ...]]:
    for fact in facts if isinstance(facts, list) else [None]:
        ways = [fact] if isinstance(fact, str) else fact
        if not isinstance(ways, list) or not ways or not all(_says_something(way) for way in ways):
            raise ConfigError(f"{place}: `facts` is a list of texts, or of lists of wordings of one fact")
        yield tuple(map(valid_text, ways))


def _says_something(way: Any) -> bool:
    return isinstance(way, str) and bool(_folded(valid_text(way)))


def _holds(said: str, way: str) -> bool:
    """Whether a text has a wording that no longer word or number continues: `60.000` is not in
    `160.000`, nor `5 juta` in `1,5 juta`, but `115.000` is in `rp115.000`."""
    before = r"(?<!\d)(?<!\d[.,])" if way[0].isdecimal() else r"(?<![^\W\d_])" if way[0].isalpha() else ""
    after = r"(?!\d|[.,]\d)" if way[-1].isdecimal() else r"(?![^\W\d_])" if way[-1].isalpha() else ""
    return re.search(before + re.escape(way) + after, said) is not None


def _folded(text: str) -> str:
    """Letter case, width and white space aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
