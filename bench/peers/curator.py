# mypy: disable-error-code="import-not-found, misc, no-any-unimported"
"""Bespoke Curator: one call for each row of a dataset, the answers in a file that is read again.

    python -m bench.peers.curator p4 --samples 1000 --url URL --out FILE

A chain is datasets one after the other.  Acknowledgment and question are the rows of one of them,
so that they run side by side.
"""

from __future__ import annotations

import json
from typing import Any

from bench.lib.workload import (
    Job,
    Messages,
    card_prompt,
    job,
    persona_prompt,
    question_prompt,
    transcript,
    user,
    written,
)
from bench.peers.confined import confine

# A minute's requests and tokens: more than there can be.
_NO_LIMIT = 1_000_000_000
Call = tuple[Messages, int]


def asker(job: Job, response_format: Any = None) -> Any:
    """Gives a list of calls to the tool; returns their texts in the same order."""
    # Where its package has the tokenizer that would be fetched otherwise, it says when imported.
    import litellm.litellm_core_utils.default_encoding  # noqa: F401
    from bespokelabs import curator
    from datasets import Dataset

    class EvalEntry(curator.LLM):
        def prompt(self, row: dict[str, Any]) -> Messages:
            messages: Messages = json.loads(row["messages"])
            return messages

        def parse(self, row: dict[str, Any], response: Any) -> dict[str, str]:
            return {"text": response if isinstance(response, str) else response.model_dump_json()}

    ask = EvalEntry(
        model_name="bench",
        backend="openai",
        response_format=response_format,
        generation_params={"temperature": 1.0, "max_completion_tokens": 200},
        backend_params={
            "base_url": job.url,
            "api_key": "unused",
            "max_concurrent_requests": job.slots,
            "max_requests_per_minute": _NO_LIMIT,
            "max_tokens_per_minute": _NO_LIMIT,
        },
    )

    def texts(calls: list[Call]) -> list[str]:
        rows = [
            {"messages": json.dumps(messages), "generation_params": json.dumps({"seed": seed})}
            for messages, seed in calls
        ]
        answers: list[str] = ask(Dataset.from_list(rows)).dataset["text"]
        return answers

    return texts


def personas(job: Job) -> list[Messages]:
    ask, numbers = asker(job), range(job.samples)
    openings = ask([(user(persona_prompt(n)), 4 * n) for n in numbers])
    sides = ask(
        [(user(openings[n]), 4 * n + 1) for n in numbers]
        + [(user(question_prompt(openings[n])), 4 * n + 2) for n in numbers]
    )
    transcripts = [transcript(openings[n], sides[n], sides[job.samples + n]) for n in numbers]
    answers = ask([(transcripts[n], 4 * n + 3) for n in numbers])
    return [[*transcripts[n], {"role": "assistant", "content": answers[n]}] for n in numbers]


def cards(job: Job) -> list[Messages]:
    from pydantic import BaseModel

    class Card(BaseModel):
        name: str
        age: int
        trade: str

    prompts = [user(card_prompt(n)) for n in range(job.samples)]
    texts = asker(job, Card)([(prompt, 16 * n) for n, prompt in enumerate(prompts)])
    return [
        [*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(prompts, texts, strict=True)
    ]


def main(job: Job) -> None:
    confine(job)
    rows = (personas if job.workload == "p4" else cards)(job)
    with written(job.out) as line:
        for row in rows:
            line(row)


if __name__ == "__main__":
    main(job(__doc__))
