"""Rows in which tools are called, through `datasets`, the chat templates that take tools and TRL's own
batches: what the student reads is what was said, and what carries loss is what is trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synth.store.dataset.output.trainers import EXACTLY
from synth.store.dataset.output.written import Dataset
from tests.kit.models.fixtures import needs
from tests.tools.test_rows import TOOLS, made
from tests.training.test_loss import with_loss

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# What calls stand between in each template, and what they call arguments.
CALLS = {
    "qwen2_5": (r"<tool_call>\n(.*?)\n</tool_call>", "arguments"),
    "qwen3": (r"<tool_call>\n(.*?)\n</tool_call>", "arguments"),
    "llama3_1": (r"assistant<\|end_header_id\|>\n\n(\{\"name\".*?\})<\|eot_id\|>", "parameters"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    needs("trl", "datasets", "transformers", "torch")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


def template(name: str) -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")


def loaded(dataset: Dataset, home: Path, *, by_card: bool = True) -> Any:
    from datasets import load_dataset

    if by_card:
        return load_dataset(str(dataset.folder), cache_dir=str(home / "cache"))["train"]
    (file,) = dataset.folder.glob("train.*")
    kind = "json" if file.suffix == ".jsonl" else "parquet"
    return load_dataset(kind, data_files=str(file), cache_dir=str(home / "cache"))["train"]


@pytest.mark.parametrize("by_card", [True, False])
@pytest.mark.parametrize("options", ["", "format = parquet"])
@pytest.mark.parametrize("form", ["messages from all", "prompt_completion from all", "preference from found"])
def test_rows_come_out_of_datasets_as_they_went_in(
    form: str, options: str, by_card: bool, home: Path
) -> None:
    dataset = made(home, form, options=options)
    assert list(loaded(dataset, home, by_card=by_card)) == list(dataset)


@pytest.mark.parametrize("options", ["", "format = parquet"])
def test_decimals_come_out_of_datasets_as_the_card_says(
    options: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas

    numbers = [1.93, 2.6047, 3e-15, 0.1234567890123456, 2**63 - 1, -(2**63)]
    monkeypatch.setattr("tests.tools.test_rows.AMOUNTS", numbers)
    dataset = made(home, "messages from served", options=options)
    read = list(loaded(dataset, home))
    assert read != list(dataset)
    for name in ("ujson_loads", "ujson_dumps"):
        # Which are as they were once the test is over.
        monkeypatch.setattr(f"pandas.io.json.{name}", getattr(pandas.io.json, name))
    exec(EXACTLY)
    assert list(loaded(dataset, home / "again")) == list(dataset)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("options", ["", "format = parquet"])
def test_templates_show_calls_and_results(name: str, options: str, home: Path, tiny_gemma: Path) -> None:
    from transformers import AutoTokenizer

    pattern, arguments = CALLS[name]
    tokenizer: Any = AutoTokenizer.from_pretrained(str(tiny_gemma))
    tokenizer.chat_template = template(name)
    dataset = made(home, "messages from all", options=options)
    for row in loaded(dataset, home):
        messages = row["messages"]
        if name == "llama3_1":
            messages = [each for message in messages for each in one_by_one(message)]
        text = tokenizer.apply_chat_template(messages, tools=row["tools"], tokenize=False)
        # The instructions show the form of a call too.
        found = [each for each in re.findall(pattern, text, re.DOTALL) if "<function-name>" not in each]
        wanted = [
            {"name": call["function"]["name"], arguments: call["function"]["arguments"]}
            for message in row["messages"]
            for call in message.get("tool_calls", ())
        ]
        assert [json.loads(each) for each in found] == wanted
        results = [message["content"] for message in row["messages"] if message["role"] == "tool"]
        # Llama's shows them as JSON, texts too.
        assert all((json.dumps(each) if name == "llama3_1" else each) in text for each in results)
        shown = [tool["function"]["description"] in text for tool in TOOLS]
        assert all(shown) if row["tools"] else not any(shown)
        assert "null" not in text.lower()


def one_by_one(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A message that calls several tools as messages that call one."""
    calls = message.get("tool_calls")
    yield from [{**message, "tool_calls": [call]} for call in calls] if calls else [message]


def batch(dataset: Dataset, checkpoint: Path, name: str, home: Path, method: str = "SFT", **more: Any) -> Any:
    """The first batch of a trainer, which holds all rows, and its tokenizer."""
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(checkpoint))
    tokenizer.chat_template = template(name)
    trainer: Any = getattr(trl, f"{method}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(str(checkpoint)),
        processing_class=tokenizer,
        train_dataset=loaded(dataset, home),
        args=getattr(trl, f"{method}Config")(
            output_dir=str(home / "trained"),
            per_device_train_batch_size=32,
            max_length=None,
            use_cpu=True,
            bf16=False,
            report_to=[],
            **more,
        ),
    )
    found = with_loss(next(iter(trainer.get_train_dataloader())))
    return sorted(tokenizer.decode(tokens) for tokens in found)


def call(name: str, arguments: str) -> str:
    return f'\n<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def said(number: int) -> list[str]:
    """What the model writes in a sample's trained turn, a message each."""
    last = [f"It is late, {number}.<|im_end|>\n"]
    if number % 2:
        return last
    first = "I look." + call("look", f'{{"number": "A-{number}"}}') + call("pay", '{"amount": 1.5}')
    return [f"{first}<|im_end|>\n", call("look", '{"number": "A-9"}') + "<|im_end|>\n", *last]


def test_the_loss_is_on_each_trained_message(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "prompt_completion from served", "[reply]")
    found = batch(dataset, tiny_gemma, "qwen2_5", home)
    wanted = [text for number in range(4) for text in said(number)]
    # The line's end that opens a turn is the prompt's, and a call begins with one of its own.
    assert [text.lstrip("\n") for text in found] == sorted(text.lstrip("\n") for text in wanted)


def test_the_loss_is_on_all_that_the_model_writes_and_on_no_result(home: Path, tiny_gemma: Path) -> None:
    dataset = made(home, "messages from served")
    found = batch(dataset, tiny_gemma, "qwen2_5_training", home, assistant_only_loss=True)
    wanted = ["".join([*said(number), "Bye.<|im_end|>\n"]) for number in range(4)]
    assert [re.sub(r"\n+", "\n", text).strip() for text in found] == sorted(
        re.sub(r"\n+", "\n", text).strip() for text in wanted
    )
    assert dataset.advice is not None
    assert "assistant_only_loss" in dataset.advice


@pytest.mark.parametrize(
    ("method", "form"), [("DPO", "preference from found"), ("KTO", "unpaired from served")]
)
def test_traces_are_compared_as_a_whole(method: str, form: str, home: Path, tiny_gemma: Path) -> None:
    found = batch(made(home, form, "[reply]"), tiny_gemma, "qwen2_5", home, method)
    refused = [text for text in found if '"A-7"' in text]
    assert any(text.endswith("It is gone, it is gone.<|im_end|>\n") for text in refused)
    assert any(text.count('"A-7"') == 2 for text in refused)
    assert not any("<tool_call>{<|im_end|>" in text for text in found)
    # As the advice says: what tools gave carries loss.
    assert any("<tool_response>\ngone" in text for text in refused)
