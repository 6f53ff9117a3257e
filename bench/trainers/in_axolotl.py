"""Run by axolotl's own interpreter: what it trains on in rows of ours, as JSON on the last line."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_SHAREGPT = {
    "field_messages": "conversations",
    "message_property_mappings": {"role": "from", "content": "value"},
}
_WEIGHT = {"message_field_training": "weight"}
_CLOSED = {"eot_tokens": ["<|im_end|>"]}
# The rows, what a dataset's entry in the configuration says, and what stands beside `datasets`.
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("messages", {}, _CLOSED),
    ("messages", _WEIGHT, {}),
    ("messages", _WEIGHT, _CLOSED),
    ("messages_both", _WEIGHT, _CLOSED),
    ("sharegpt", {**_SHAREGPT, **_WEIGHT}, _CLOSED),
]


def main(folder: Path) -> dict[str, Any]:
    load = import_module("axolotl.prompt_strategies.chat_template").load
    as_dict = import_module("axolotl.utils.dict").DictDefault
    tokenizer: Any = import_module("transformers").AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    counted = []
    for name, entry, beside in CASES:
        config = as_dict({"sequence_len": 4096, "train_on_inputs": False, **beside})
        config["chat_template"] = "tokenizer_default"
        strategy = load(tokenizer, config, ds_cfg=as_dict({"type": "chat_template", **entry}))
        lines = (folder / name / "train.jsonl").read_text("utf-8").splitlines()
        tokenized = [strategy.tokenize_prompt(json.loads(line)) for line in lines]
        trained = [[token for token in row["labels"] if token != -100] for row in tokenized]
        settings = {**entry, **beside}
        counted.append(
            {
                "rows": name,
                "settings": json.dumps(settings) if settings else "",
                "tokens": sum(len(row["input_ids"]) for row in tokenized),
                "with_loss": sum(map(len, trained)),
                "trained": [tokenizer.decode(tokens) for tokens in trained],
                "failed": "",
            }
        )
    names = ("axolotl", "transformers", "datasets")
    return {"versions": {name: version(name) for name in names}, "counted": counted}


if __name__ == "__main__":
    print(f"\n{json.dumps(main(Path(sys.argv[1])))}")
