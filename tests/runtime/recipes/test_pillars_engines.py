"""The pillars recipe with answers by real engines: strict JSON from vLLM, readable rows from the
pocket model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from synth.compiler.compile import compile_file
from synth.compiler.plan.steps import JsonOutput
from tests.kit.models.fixtures import needs
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import RECIPES, query, synth
from tests.runtime.recipes.test_pillars import all_rows, padder, writer

EACH = 4


def answered_by(folder: Path, model: str) -> Path:
    """The recipe with its answers written by another model than its asks."""
    shutil.copytree(RECIPES, folder / "recipes")
    recipe = folder / "recipes/pillars.recipe"
    text = recipe.read_text("utf-8").replace("turn answer: model by writer", "turn answer: model by student")
    text = text.replace("model padder:", f"{model}\n\nmodel padder:")
    recipe.write_text(text, "utf-8")
    return recipe


def json_rows(folder: Path, recipe: Path) -> int:
    """How many rows are JSON; each is checked, byte for byte canonical and of its schema."""
    plan = compile_file(recipe).plan
    found = 0
    for row in all_rows(folder / "out/pillars"):
        if row["source"] not in ("commands", "json_only"):
            continue
        output = plan.cohort(row["source"]).step("answer").output
        assert isinstance(output, JsonOutput)
        text = row["messages"][-1]["content"]
        value = json.loads(text)
        Draft202012Validator(output.schema_).validate(value)
        assert text == json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        found += 1
    return found


@pytest.mark.slow
def test_structured_outputs_of_vllm_leave_no_json_error(tmp_path: Path, tiny_gemma: Path) -> None:
    needs("vllm")
    recipe = answered_by(
        tmp_path, f'model student: model<chat, json> from vllm("{tiny_gemma}") {{ max_tokens = 600 }}'
    )
    (tmp_path / "synth.toml").write_text(
        """
        [models.student]
        max_num_seqs = 8
        kv_cache_gb = 0.25
        threads = 1
        dtype = "float32"
        """
    )
    with OpenAIServer(answer=writer) as openai, GeminiServer(answer=padder) as gemini:
        environment = {
            "OPENAI_BASE_URL": openai.base_url,
            "OPENAI_API_KEY": "k",
            "GOOGLE_GEMINI_BASE_URL": gemini.base_url,
            "GEMINI_API_KEY": "k",
        }
        ran = synth("run", recipe, "--limit", str(EACH), "--json", cwd=tmp_path, env=environment)
    assert ran.status == 0, ran.err
    report = ran.json()
    assert {cohort["completed"] for cohort in report["cohorts"].values()} == {EACH}
    # Noise may run into max_tokens, and is refused for that; what ends by itself is right.
    wrong = query(
        tmp_path / "synth.duckdb",
        "SELECT payload ->> 'check', payload ->> 'reason' FROM events WHERE kind = 'step.rejected' "
        "AND (payload ->> 'check') IN ('json_valid', 'schema')",
    )
    assert wrong == []
    written = synth("materialize", recipe, "--partial", cwd=tmp_path)
    assert written.status == 0, written.err
    assert json_rows(tmp_path, recipe) == 2 * EACH
    evaluated = synth("evaluate", recipe, "--partial", "--json", cwd=tmp_path)
    measures = {each["measure"]: each for each in evaluated.json()["evaluations"][0]["measures"]}
    assert measures["json_errors"]["value"] == 0
    assert measures["json_errors"]["judged"] == 2 * EACH
    wrong_answers = query(
        tmp_path / "synth.duckdb",
        "SELECT count(*) FROM events WHERE kind = 'call.completed' AND model = 'student' "
        "AND (payload ->> '$.identity.backend') <> 'vllm'",
    )
    assert wrong_answers == [(0,)]


POCKET = """
edition 1

recipe small { seed = 5 }

model writer: model<chat, json> from pocket() { temperature = 0.7, max_tokens = 48 }

set scenarios: scenario {
  open_app { brief = "open the music player" }
  volume { brief = "turn the volume down a little" }
  search { brief = "find last week's report" }
}

schema Command {
  action: enum<open, volume, search>
  target: text(1..40)
}

conversation commands 3 over scenario in scenarios {
  turn ask: user by writer {
    prompt = "Say this to a computer in one short sentence of your own: {{ scenario.brief }}"
    check { length(4..400), distinct(similarity = 0.95) }
    retry = 3
  }

  turn answer: model by writer {
    prompt = "Turn the command into JSON of this shape:\\n{{ Command | json_schema }}\\n\\nCommand: {{ ask }}"
    produces: json<Command>
    retry = 3
  }

  train_on = [answer]
}

export train: messages from commands to "out/small"
"""


@pytest.mark.slow
def test_the_pocket_model_writes_rows_that_can_be_read(tmp_path: Path, pocket_home: Path) -> None:
    recipe = tmp_path / "small.recipe"
    recipe.write_text(POCKET.lstrip(), "utf-8")
    ran = synth("run", recipe, cwd=tmp_path, timeout=550)
    assert ran.status == 0, ran.err
    assert synth("materialize", recipe, cwd=tmp_path).status == 0
    written = all_rows(tmp_path / "out/small")
    assert len(written) == 3
    for row in written:
        ask, answer = (message["content"] for message in row["messages"])
        # Words, not tokens of a template and not noise.
        assert [word for word in ask.split() if word.strip(".,!?'\"").isalpha()], ask
        assert "\ufffd" not in ask
        assert "<|" not in ask
        assert set(json.loads(answer)) == {"action", "target"}
