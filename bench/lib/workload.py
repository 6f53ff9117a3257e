"""The two workloads of the orchestration benchmark, as a client without `synth` would have them.

`p4` is the persona recipe's chain: persona, then acknowledgment and question side by side, then the
answer to all of it.  `r1` is one call for JSON, asked again with another seed while it is malformed.
Standard library alone, so that it can be imported from any virtual environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Name = Literal["p4", "r1"]
Messages = list[dict[str, str]]
# Messages, seed and whether JSON is wanted; the answer's text.
EvalEntry = Callable[[Messages, int, bool], Awaitable[str]]

CALLS = {"p4": 4, "r1": 1}
# Calls that must follow one another, at least.
DEPTH = {"p4": 3, "r1": 1}
MOST_TRIES = 9

_WORLDS = ("libraries and museums", "clinics", "workshops and farms", "stations and far colonies")
_TEMPERS = ("calm and exact", "warm, a little funny", "eccentric, with one memorable habit")

CARD_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 60},
        "age": {"type": "integer", "minimum": 0},
        "trade": {"type": "string", "minLength": 1, "maxLength": 60},
    },
    "required": ["name", "age", "trade"],
    "additionalProperties": False,
}


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def persona_prompt(number: int) -> str:
    return (
        "Invent a unique and specific persona for an AI model, from the world of "
        f"{_WORLDS[number % len(_WORLDS)]}.  Give its name, its purpose and its personality, which is "
        f'{_TEMPERS[number % len(_TEMPERS)]}, in a single sentence that begins with "You are".\n'
        "Write the sentence and nothing else."
    )


def question_prompt(persona: str) -> str:
    return (
        f"Given the persona '{persona}', write a simple question that a user would ask to learn about "
        "its identity or purpose.  Write the question and nothing else."
    )


def transcript(persona: str, acknowledgment: str, question: str) -> Messages:
    return [*user(persona), {"role": "assistant", "content": acknowledgment}, *user(question)]


def card_prompt(number: int) -> str:
    return f"Describe one person of a small harbour town, number {number}: name, age and trade, as JSON."


def is_card(text: str) -> bool:
    """Whether an answer is JSON that fits `CARD_SCHEMA`."""
    try:
        card = json.loads(text)
    except ValueError:
        return False
    return isinstance(card, dict) and card.keys() == CARD_SCHEMA["properties"].keys()  # type: ignore[attr-defined]


def request(messages: Messages, seed: int, wants_json: bool) -> dict[str, Any]:
    """The body of a call."""
    body: dict[str, Any] = {
        "model": "bench",
        "messages": messages,
        "seed": seed,
        "temperature": 1.0,
        "max_completion_tokens": 200,
    }
    if wants_json:
        form = {"name": "answer", "schema": CARD_SCHEMA, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


async def persona(ask: EvalEntry, number: int) -> Messages:
    """One sample of `p4`: its four messages."""
    opening = await ask(user(persona_prompt(number)), 4 * number, False)
    acknowledgment, question = await asyncio.gather(
        ask(user(opening), 4 * number + 1, False),
        ask(user(question_prompt(opening)), 4 * number + 2, False),
    )
    messages = transcript(opening, acknowledgment, question)
    return [*messages, {"role": "assistant", "content": await ask(messages, 4 * number + 3, False)}]


async def card(ask: EvalEntry, number: int) -> Messages:
    """One sample of `r1`.  Raises ValueError when no try gave JSON."""
    prompt = card_prompt(number)
    for attempt in range(MOST_TRIES):
        text = await ask(user(prompt), 16 * number + attempt, True)
        if is_card(text):
            return [*user(prompt), {"role": "assistant", "content": text}]
    raise ValueError(f"sample {number} had no JSON in {MOST_TRIES} tries")


ONE: dict[Name, Callable[[EvalEntry, int], Awaitable[Messages]]] = {"p4": persona, "r1": card}


@dataclass(frozen=True, slots=True)
class Job:
    """What a contender is asked to do.  `out` is a file for the rows, or a folder of its own."""

    workload: Name
    samples: int
    url: str
    slots: int
    out: Path


def job(description: str | None) -> Job:
    """The job on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workload", choices=sorted(ONE))
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--out", type=Path, required=True)
    return Job(**vars(parser.parse_args()))


async def run(job: Job, ask: EvalEntry) -> None:
    """Every sample at once, with at most `slots` calls in flight; the rows go to `out` at the end."""
    slots = asyncio.Semaphore(job.slots)

    async def limited(messages: Messages, seed: int, wants_json: bool) -> str:
        async with slots:
            return await ask(messages, seed, wants_json)

    one = ONE[job.workload]
    rows = await asyncio.gather(*(one(limited, number) for number in range(job.samples)))
    with written(job.out) as lines:
        for row in rows:
            lines(row)


@contextmanager
def written(path: Path) -> Iterator[Callable[[Messages], None]]:
    """A JSONL file of conversations, a line each."""
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: print(json.dumps({"messages": row}), file=file)
