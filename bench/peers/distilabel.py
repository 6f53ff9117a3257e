# mypy: disable-error-code="import-not-found, untyped-decorator"
"""distilabel: a pipeline of steps, each a task of a model.

    python -m bench.peers.distilabel p4 --samples 1000 --url URL --out FILE

A pipeline has no loop, so what was malformed in `r1` goes through a second one, and so on.
"""

# No postponed annotations here: distilabel looks at those of its steps.

import os
from collections.abc import Iterator
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts, StepInput, step
from distilabel.steps.tasks import ChatGeneration, TextGeneration

from bench.lib.workload import (
    MOST_TRIES,
    Job,
    Messages,
    card_prompt,
    is_card,
    job,
    question_prompt,
    transcript,
    user,
    written,
)
from bench.peers.numbered import numbered_prompt


@step(inputs=["persona"], outputs=["ask"])
def ask(rows: StepInput) -> Iterator[list[dict[str, Any]]]:
    for row in rows:
        row["ask"] = question_prompt(row["persona"])
    yield rows


@step(inputs=["persona"], outputs=["messages"])
def assemble(*branches: StepInput) -> Iterator[list[dict[str, Any]]]:
    rows = [{**left, **right} for left, right in zip(*branches, strict=True)]
    for row in rows:
        row["messages"] = transcript(row["persona"], row["acknowledgment"], row["question"])
    yield rows


def model(job: Job) -> OpenAILLM:
    return OpenAILLM(
        model="bench", base_url=job.url, api_key="unused", generation_kwargs={"max_new_tokens": 200}
    )


def personas(job: Job) -> list[Messages]:
    def text(name: str, source: str, target: str) -> TextGeneration:
        return TextGeneration(
            name=name,
            llm=model(job),
            input_batch_size=job.slots,
            input_mappings={"instruction": source},
            output_mappings={"generation": target},
            use_default_structured_output=False,
        )

    with Pipeline(name="p4", cache_dir=str(job.out.with_suffix(""))) as pipeline:
        prompts = [{"prompt": numbered_prompt(number)} for number in range(job.samples)]
        load = LoadDataFromDicts(name="load", data=prompts, batch_size=job.slots)
        persona = text("persona_step", "prompt", "persona")
        acknowledgment = text("acknowledgment_step", "persona", "acknowledgment")
        asking = ask(name="ask_step", input_batch_size=job.slots)
        question = text("question_step", "ask", "question")
        joined = assemble(name="assemble_step", input_batch_size=job.slots)
        answer = ChatGeneration(name="answer_step", llm=model(job), input_batch_size=job.slots)
        load >> persona >> [acknowledgment, asking]
        asking >> question
        [acknowledgment, question] >> joined >> answer
    rows = _rows(pipeline)
    return [[*row["messages"], {"role": "assistant", "content": row["generation"]}] for row in rows]


def cards(job: Job) -> list[Messages]:
    todo, accepted = list(range(job.samples)), {}
    for attempt in range(MOST_TRIES):
        with Pipeline(name=f"r1-{attempt}", cache_dir=str(job.out.with_suffix(""))) as pipeline:
            prompts = [{"number": number, "instruction": card_prompt(number)} for number in todo]
            load = LoadDataFromDicts(name="load", data=prompts, batch_size=job.slots)
            load >> TextGeneration(name="card", llm=model(job), input_batch_size=job.slots)
        for row in _rows(pipeline):
            if is_card(row["generation"] or ""):
                accepted[row["number"]] = row["generation"]
        todo = [number for number in todo if number not in accepted]
        if not todo:
            break
    return [[*user(card_prompt(n)), {"role": "assistant", "content": accepted[n]}] for n in sorted(accepted)]


def _rows(pipeline: Pipeline) -> Any:
    return pipeline.run(use_cache=os.environ.get("BENCH_CACHE") == "1")["default"]["train"]


def main(job: Job) -> None:
    with written(job.out) as line:
        for row in (personas if job.workload == "p4" else cards)(job):
            line(row)


if __name__ == "__main__":
    main(job(__doc__))
