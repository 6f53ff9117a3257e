"""Candidates, marks and opened templates on a real engine: vLLM with a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.models.fixtures import needs
from tests.kit.support import query, rows, synth

RECIPE = """edition 1
recipe judged {{ seed = 2 }}
model base: model<chat, json, template> from vllm("{checkpoint}") {{ temperature = 1.0, max_tokens = 16 }}
model judge: model<chat, json> from vllm("{checkpoint}") {{ max_tokens = 500 }}

rubric quality by judge {{ good 1..5 = "Good?" }}

conversation answered times 6 {{
  turn ask: user = "{words} {{{{ nth }}}}"
  turn answer: model by base {{ sees = transcript, candidates = 4, on_length = keep }}
}}

conversation opened times 6 {{
  turn first: user by base {{ sees = template, on_length = keep, retry = 2 }}
  turn reply: model by base {{
    sees = transcript
    candidates = 3
    on_length = keep
    marks = quality
    pick = best
    retry = 2
  }}
}}

export sft: messages from answered to "out/sft"
export all: ranked from opened to "out/all"
"""
SETTINGS = """
[models.{}]
max_num_seqs = 16
kv_cache_gb = 0.25
threads = 1
dtype = "float32"
"""


@pytest.mark.slow
def test_candidates_share_what_is_before_them(tmp_path: Path, tiny_gemma: Path) -> None:
    needs("vllm")
    words = " ".join(f"word {number}" for number in range(70))
    (tmp_path / "judged.recipe").write_text(RECIPE.format(checkpoint=tiny_gemma, words=words))
    (tmp_path / "synth.toml").write_text(SETTINGS.format("base") + SETTINGS.format("judge"))
    ran = synth("run", "judged.recipe", "--json", cwd=tmp_path)
    assert ran.status in (0, 3), ran.err
    log = tmp_path / "synth.duckdb"
    found = query(
        log,
        """SELECT sample_id, prompt_tokens, CAST(payload ->> 'cached_tokens' AS BIGINT) FROM events
           WHERE kind = 'call.completed' AND step = 'answer' AND attempt = 0 ORDER BY seq""",
    )
    by_sample: dict[str, list[tuple[int, int]]] = {}
    for sample, prompt, cached in found:
        by_sample.setdefault(sample, []).append((prompt, cached))
    assert len(by_sample) >= 6
    for calls in by_sample.values():
        assert len(calls) == 4
        assert len({prompt for prompt, _ in calls}) == 1
        assert calls[0][0] >= 512
    # Of all that four are shown, at most a tenth more than of one is read.
    once = sum(calls[0][0] for calls in by_sample.values())
    read = sum(prompt - cached for calls in by_sample.values() for prompt, cached in calls)
    assert read <= 1.1 * once, (read, once)
    opened = query(
        log, "SELECT payload ->> 'messages' FROM events WHERE kind = 'call.completed' AND step = 'first'"
    )
    assert {text for (text,) in opened} == {"[]"}
    for command in (["replay"], ["materialize", "--partial"]):
        done = synth(*command, "judged.recipe", cwd=tmp_path)
        assert done.status == 0, done.err
    made = rows(tmp_path / "out/all/train.jsonl")
    assert made
    for row in made:
        assert row["marks"] == sorted(row["marks"], reverse=True)
        assert 1 <= len(row["responses"]) == len(row["marks"]) <= 3
        assert all(1 <= mark <= 5 for mark in row["marks"])
