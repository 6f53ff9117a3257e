"""From a completed sample to the rows of a dataset, in the form an export asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compiler.plan import CohortPlan, ExportPlan, canonical_json

# What a column is made of in Parquet; JSONL needs no types.
MESSAGE = "STRUCT(role VARCHAR, content VARCHAR, weight TINYINT)"
_FORMS = {
    "messages": {"messages": f"{MESSAGE}[]"},
    "prompt_completion": {"prompt": f"{MESSAGE}[]", "completion": f"{MESSAGE}[]"},
    "sharegpt": {"conversations": 'STRUCT("from" VARCHAR, "value" VARCHAR, weight TINYINT)[]'},
}


def column_types(export: ExportPlan) -> dict[str, str]:
    """The columns of an export and their DuckDB types, in order."""
    return {
        "id": "VARCHAR",
        **_FORMS[export.type],
        **dict.fromkeys(export.columns, "VARCHAR"),
    }


def rows_of(
    export: ExportPlan, cohort: CohortPlan, sample_id: str, payload: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of one sample: one, save for `prompt_completion` with several trained turns.

    A message's `weight` is 1 where it is trained on, else 0.
    """
    messages = _messages(export, cohort, payload["values"])
    columns = {name: _column(name, payload) for name in export.columns}
    if export.type == "messages":
        yield {"id": sample_id, "messages": messages, **columns}
    elif export.type == "sharegpt":
        names = {"user": "human", "assistant": "gpt", "model": "gpt"}
        turns = [{"from": names[m["role"]], "value": m["content"], "weight": m["weight"]} for m in messages]
        yield {"id": sample_id, "conversations": turns, **columns}
    else:
        trained = [index for index, message in enumerate(messages) if message["weight"]]
        for number, index in enumerate(trained):
            name = sample_id if len(trained) == 1 else f"{sample_id}-{number}"
            prompt = [{**message, "weight": 0} for message in messages[:index]]
            yield {"id": name, "prompt": prompt, "completion": [messages[index]], **columns}


def _messages(export: ExportPlan, cohort: CohortPlan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    model = export.roles
    return [
        {
            "role": "user" if turn.role == "user" else model,
            "content": _text(values[turn.name]),
            "weight": int(turn.name in cohort.train_on),
        }
        for turn in cohort.turns
    ]


def _column(name: str, payload: Mapping[str, Any]) -> str:
    cell = payload["cell"]
    return str(cell[name]) if name in cell else _text(payload["values"][name])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)
