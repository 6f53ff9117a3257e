"""Run by LLaMA-Factory's own interpreter: what it trains on in rows of ours, as JSON on the last line."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_ROLES = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_PAIRS = {"chosen": "chosen", "rejected": "rejected"}
# What `dataset_info.json` says of each form, beside its file.
DATASETS: dict[str, dict[str, Any]] = {
    "messages": {"columns": {"messages": "messages"}, "tags": _ROLES},
    "messages_both": {"columns": {"messages": "messages"}, "tags": _ROLES},
    "sharegpt": {},
    "preference": {"ranking": True, "columns": {"messages": "prompt", **_PAIRS}, "tags": _ROLES},
    "sharegpt_preference": {"ranking": True, "columns": {"messages": "conversations", **_PAIRS}},
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("messages", {}),
    ("messages", {"mask_history": True}),
    ("messages_both", {}),
    ("sharegpt", {"mask_history": True}),
    ("preference", {}),
    ("sharegpt_preference", {}),
]


def main(folder: Path) -> dict[str, Any]:
    info = {
        name: {"file_name": f"{name}/train.jsonl", "formatting": "sharegpt", **entry}
        for name, entry in DATASETS.items()
    }
    (folder / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    counted = []
    for name, settings in CASES:
        counts: dict[str, Any] = {"tokens": None, "with_loss": None, "trained": [], "failed": ""}
        try:
            counts |= _counted(folder, name, settings)
        except RuntimeError as error:
            counts["failed"] = str(error).split(",")[0]
        counted.append({"rows": name, "settings": json.dumps(settings) if settings else "", **counts})
    names = ("llamafactory", "transformers", "datasets")
    return {"versions": {name: version(name) for name in names}, "counted": counted}


def _counted(folder: Path, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    data, hparams = import_module("llamafactory.data"), import_module("llamafactory.hparams")
    transformers: Any = import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    arguments = hparams.DataArguments(
        template="chatml",
        dataset=name,
        dataset_dir=str(folder),
        cutoff_len=4096,
        overwrite_cache=True,
        **settings,
    )
    template = data.get_template_and_fix_tokenizer(tokenizer, arguments)
    dataset = data.get_dataset(
        template,
        hparams.ModelArguments(model_name_or_path=str(folder / "tokenizer")),
        arguments,
        transformers.Seq2SeqTrainingArguments(output_dir=str(folder / "trained"), use_cpu=True, report_to=[]),
        stage="rm" if "chosen" in DATASETS[name].get("columns", {}) else "sft",
        tokenizer=tokenizer,
        processor=None,
    )["train_dataset"]
    columns = [column for column in dataset.column_names if column.endswith("labels")]
    rows = [[token for column in columns for token in row[column] if token != -100] for row in dataset]
    return {
        "tokens": sum(len(row[column]) for row in dataset for column in columns),
        "with_loss": sum(map(len, rows)),
        "trained": [tokenizer.decode(row) for row in rows],
    }


if __name__ == "__main__":
    print(f"\n{json.dumps(main(Path(sys.argv[1])))}")
