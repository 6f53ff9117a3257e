"""How likely a student finds held-out answers: as its own engine says, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from synth.runtime.evaluation.items import Item, Items
from synth.store.log.log import Log
from tests.evaluation.helpers import DIRECT, HEAD, Project, evaluation, project
from tests.kit.models.fixtures import needs
from tests.kit.support import one_sentence, query

ANSWERS = ["A persona is who the model says it is.", "is", "<end_of_turn> {{ x }}", "None at all, 7."]


def asked(folder: Path, model: str, answers: Sequence[str] = ANSWERS, times: int = 12) -> Project:
    """Rows whose answers are these by turns, to be scored by a model."""
    head = HEAD + f"model small: model<chat, logprobs> from {model}\n"
    made = project(
        folder,
        DIRECT.replace("times 10", f"times {times}")
        + evaluation("perplexity(student = small, at_least = 1)"),
        head=head,
    )
    made.tell({"direct": [answers[number % len(answers)] for number in range(times)]})
    return made


def rows(made: Project) -> list[Item]:
    with Log(made.log) as log:
        return [item for item, held_out in Items(made.plan, log, "train").read() if held_out]


def directly(checkpoint: Path, found: list[Item]) -> tuple[float, int]:
    """The perplexity of the rows' answers and the number of their tokens, by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32").eval()
    total, count = 0.0, 0
    for item in found:
        prompt, whole = (
            tokenizer.apply_chat_template(
                said, add_generation_prompt=opened, tokenize=True, return_dict=False
            )
            for said, opened in (
                (item.asked, True),
                ([*item.asked, {"role": "assistant", "content": item.given}], False),
            )
        )
        # An answer ends with the token that ends its turn.
        end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
        ids = whole[: len(whole) - whole[::-1].index(end)]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for place in range(len(prompt), len(ids)):
            total += float(logits[place - 1, ids[place]])
            count += 1
    return math.exp(-total / count), count


def measured(made: Project, *arguments: str) -> dict[str, Any]:
    return made.measures(*arguments, status=0)["perplexity", "small"]


@pytest.mark.slow
def test_perplexity_is_that_of_a_direct_computation(tmp_path: Path, tiny_gemma: Path) -> None:
    made = asked(
        tmp_path, f'transformers("{tiny_gemma}")', ["A persona is who it says it is.", "is", "None, 7."]
    )
    held_out = rows(made)
    value, tokens = directly(tiny_gemma, held_out)
    found = measured(made)
    assert found["value"] == pytest.approx(value, rel=1e-4)
    assert (found["judged"], found["note"]) == (len(held_out), f"{tokens:,} tokens")
    # What is in the log is not computed again.
    before = query(made.log, "SELECT count(*) FROM events WHERE kind = 'call.completed'")
    assert measured(made) == found
    assert query(made.log, "SELECT count(*) FROM events WHERE kind = 'call.completed'") == before


@pytest.mark.slow
def test_two_engines_find_rows_as_likely(tmp_path: Path, tiny_gemma: Path) -> None:
    needs("vllm")
    made = asked(tmp_path, f'transformers("{tiny_gemma}")')
    (tmp_path / "synth.toml").write_text(
        """
        [models.small]
        backend = "vllm"
        max_num_seqs = 8
        kv_cache_gb = 0.25
        threads = 1
        dtype = "float32"
        """
    )
    here = measured(made, "--model", f"small=transformers:{tiny_gemma}")
    there = measured(made, "--model", f"small=vllm:{tiny_gemma}")
    assert there["value"] == pytest.approx(here["value"], rel=1e-3)
    assert (there["judged"], there["note"]) == (here["judged"], here["note"])
    who = query(
        made.log,
        "SELECT payload ->> '$.identity.backend', count(*) FROM events "
        "WHERE kind = 'call.completed' AND step = 'score' GROUP BY ALL ORDER BY 1",
    )
    assert who == [("transformers", here["judged"]), ("vllm", here["judged"])]


@pytest.mark.slow
def test_the_pocket_model_is_a_student(tmp_path: Path, pocket_home: Path) -> None:
    likely = measured(asked(tmp_path, "pocket()", ["The capital of France is Paris."], 6))
    (tmp_path / "synth.duckdb").unlink()
    unlikely = measured(asked(tmp_path, "pocket()", ["France the of is capital Paris The."], 6))
    assert 1 < likely["value"] < unlikely["value"]


@pytest.mark.slow
def test_a_row_that_is_too_long_is_left_out(tmp_path: Path, tiny_gemma: Path) -> None:
    made = asked(tmp_path, f'transformers("{tiny_gemma}")', ["is " * 2_000, "is"])
    held_out = rows(made)
    long = sum(len(item.given) > 100 for item in held_out)
    assert 0 < long < len(held_out)
    found = measured(made)
    assert (found["judged"], found["note"]) == (len(held_out) - long, f"{long} could not be scored")


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    needs("transformers")
    made = asked(tmp_path, 'transformers("/nowhere/at/all")')
    assert "/nowhere/at/all" in one_sentence(made.evaluate(), 1)
