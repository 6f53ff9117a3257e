# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""NeMo Data Designer: columns of a table, each filled by a template that names the others.

    python -m bench.peers.data_designer p4 --samples 1000 --url URL --out FILE

It passes on no seed, so the prompts of `p4` are told apart by a number.  A template is one message;
the answer, which sees the whole conversation, is written by a function of ours instead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.lib.workload import (
    CARD_SCHEMA,
    MOST_TRIES,
    Job,
    Messages,
    card_prompt,
    job,
    question_prompt,
    transcript,
    user,
    written,
)
from bench.peers.confined import confine
from bench.peers.numbered import numbered_prompt

# Rows that are kept together, once the last of them is finished.
_ROWS = 25


def columns(job: Job) -> list[Any]:
    import data_designer.config as dd

    if job.workload == "r1":
        return [
            dd.LLMStructuredColumnConfig(
                name="card", prompt="{{ prompt }}", model_alias="bench", output_format=CARD_SCHEMA
            )
        ]

    @dd.custom_column_generator(
        required_columns=["persona", "acknowledgment", "question"], model_aliases=["bench"]
    )
    async def answered(row: dict[str, Any], generator_params: None, models: dict[str, Any]) -> dict[str, Any]:
        from data_designer.engine.models.utils import ChatMessage

        messages = transcript(row["persona"], row["acknowledgment"], row["question"])
        response = await models["bench"].acompletion([ChatMessage(**message) for message in messages])
        row["answer"] = response.message.content
        return row

    prompts = {
        "persona": "{{ prompt }}",
        "acknowledgment": "{{ persona }}",
        "question": question_prompt("{{ persona }}"),
    }
    return [
        *(dd.LLMTextColumnConfig(name=n, prompt=p, model_alias="bench") for n, p in prompts.items()),
        dd.CustomColumnConfig(name="answer", generator_function=answered),
    ]


def rows(job: Job, home: Path) -> Any:
    import data_designer.config as dd
    import pandas
    from data_designer.interface import DataDesigner, ResumeMode
    from data_designer.interface.errors import DataDesignerProfilingError

    model = dd.ModelConfig(
        alias="bench",
        model="bench",
        provider="loopback",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            temperature=1.0, max_tokens=200, max_parallel_requests=job.slots
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    prompts = home / "prompts.jsonl"
    prompt = numbered_prompt if job.workload == "p4" else card_prompt
    prompts.write_text("".join(json.dumps({"prompt": prompt(n)}) + "\n" for n in range(job.samples)))
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(prompts)))
    for column in columns(job):
        builder.add_column(column)
    designer = DataDesigner(
        artifact_path=home,
        model_providers=[dd.ModelProvider(name="loopback", endpoint=job.url, api_key="unused")],
    )
    designer.set_run_config(
        dd.RunConfig(
            buffer_size=_ROWS,
            max_concurrent_row_groups=max(3, 2 * job.slots // _ROWS),
            max_conversation_restarts=MOST_TRIES - 1,
            jinja_rendering_engine=dd.JinjaRenderingEngine.NATIVE,
            otel_metrics_port=None,
        )
    )
    try:
        results = designer.create(builder, num_records=job.samples, resume=ResumeMode.IF_POSSIBLE)
    except DataDesignerProfilingError:
        # A single row has no deviation, which its profile does not expect; the rows are there by then.
        if job.samples > 1:
            raise
        return pandas.read_parquet(home / "dataset" / "parquet-files").to_dict("records")
    return results.load_dataset().to_dict("records")


def count_bytes() -> None:
    """Has the tool's closing profile of its columns, which nothing switches off, count bytes: the
    tokenizer it counts with would be fetched."""
    import tiktoken

    single = {bytes([value]): value for value in range(256)}
    tiktoken.registry.ENCODINGS["cl100k_base"] = tiktoken.Encoding(
        "bytes", pat_str=r"\s*\S+|\s+", mergeable_ranks=single, special_tokens={}
    )


def messages(job: Job, row: dict[str, Any]) -> Messages:
    if job.workload == "r1":
        return [*user(row["prompt"]), {"role": "assistant", "content": json.dumps(row["card"])}]
    messages = transcript(row["persona"], row["acknowledgment"], row["question"])
    return [*messages, {"role": "assistant", "content": row["answer"]}]


def main(job: Job) -> None:
    home = confine(job)
    count_bytes()
    with written(job.out) as line:
        for row in rows(job, home):
            line(messages(job, row))


if __name__ == "__main__":
    main(job(__doc__))
