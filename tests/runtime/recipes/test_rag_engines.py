"""The RAG recipe on real engines, held to the form of its dialogues: a random Gemma and the pocket model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import JsonOutput
from tests.kit.models.fixtures import needs
from tests.kit.support import query, synth
from tests.runtime.recipes.test_rag import all_rows, completed, project

REVISION = ("--set", "teacher_revision=0")
PROMPT = """
      {{ evidence | numbered }}

      Write {{ turns }} short messages about this, by turns of user and model, as JSON:
      {{ Message | json_schema }}
      """


def edited(folder: Path, *changes: tuple[str, str]) -> Path:
    """The recipe after some edits, each of a pattern that it holds."""
    recipe = project(folder) / "recipes/rag.recipe"
    text = recipe.read_text("utf-8")
    for pattern, replacement in (('search = "hybrid"', 'search = "text"'), *changes):
        # A backslash in a replacement would be read as a reference.
        text, count = re.subn(pattern, replacement.replace("\\", r"\\"), text, count=1, flags=re.DOTALL)
        assert count, pattern
    recipe.write_text(text, "utf-8")
    return recipe


def valid(plan: Plan, folder: Path) -> int:
    """How many dialogues there are; each fits its schema and has the messages asked for at most."""
    step = plan.cohort("grounded").step("dialogue")
    assert isinstance(step.output, JsonOutput)
    found = completed(folder)
    for sample in found:
        Draft202012Validator(step.output.schema_).validate(sample["values"]["dialogue"])
        assert sample["values"]["evidence"]
    return len(found)


@pytest.mark.slow
@pytest.mark.soak
def test_structured_outputs_of_vllm_leave_no_json_error(tmp_path: Path, tiny_gemma: Path) -> None:
    """The text is noise, so no check of what it says could hold."""
    needs("vllm")
    recipe = edited(
        tmp_path,
        (r'"google/gemma-3-12b-it"', f'"{tiny_gemma}"'),
        (r"max_tokens = 2_000", "max_tokens = 500"),
        (r"max_words = 90, overlap = 15", "max_words = 16, overlap = 2"),
        (r"param top_k: count = 3", "param top_k: count = 2"),
        (r"text\(1\.\.800\)\?", "text(1..24)?"),
        (r"text\(1\.\.1_500\)", "text(1..48)"),
        (r'(?<=prompt = """).*?(?=""")', PROMPT),
        (r"    check \{.*?\n    \}\n", ""),
    )
    (tmp_path / "synth.toml").write_text(
        """
        [models.teacher]
        max_num_seqs = 8
        kv_cache_gb = 0.25
        threads = 1
        dtype = "float32"
        """
    )
    ran = synth("run", recipe, *REVISION, "--limit", "24", "--json", cwd=tmp_path)
    assert ran.status == 0, ran.err
    plan = compile_file(recipe, {"teacher_revision": "0"}).plan
    assert valid(plan, tmp_path) == 24
    refused = query(
        tmp_path / "synth.duckdb",
        "SELECT DISTINCT payload ->> 'check' FROM events WHERE kind = 'step.rejected'",
    )
    # Noise may run into max_tokens; what ends by itself is right.
    assert {check for (check,) in refused} <= {"complete"}
    engines = query(
        tmp_path / "synth.duckdb",
        "SELECT DISTINCT payload ->> '$.identity.backend', (payload -> 'token_ids') IS NOT NULL "
        "FROM events WHERE kind = 'call.completed'",
    )
    assert engines == [("vllm", True)]
    written = synth("materialize", recipe, *REVISION, "--partial", cwd=tmp_path)
    assert written.status == 0, written.err
    found = all_rows(tmp_path / "out/rag")
    assert len(found) == 24
    assert all(row["messages"][0]["role"] == "system" for row in found)
    replayed = synth("replay", recipe, *REVISION, "--json", cwd=tmp_path)
    assert (replayed.status, replayed.json()["pending"]) == (0, 1020 - 24), replayed.err


@pytest.mark.slow
@pytest.mark.soak
def test_the_pocket_model_writes_messages_in_the_form_asked_for(tmp_path: Path, pocket_home: Path) -> None:
    """A handful; what it says, who says it and in which language are beyond it."""
    recipe = edited(
        tmp_path,
        (r"max_tokens = 2_000", "max_tokens = 500"),
        (r"text\(1\.\.800\)\?", "text(1..80)?"),
        (r"text\(1\.\.1_500\)", "text(1..120)"),
        (r"list<Message>\(2\.\.6\)", "list<Message>(2..3)"),
        (r"from \[2, 4, 6\]", "from [2]"),
        (r"    check \{.*?\n    \}\n", ""),
    )
    env = {"XDG_CACHE_HOME": str(pocket_home)}
    ran = synth(
        "run", recipe, *REVISION, "--pocket", "--limit", "3", "--json", cwd=tmp_path, env=env, timeout=900
    )
    assert ran.status == 0, ran.err
    plan = compile_file(recipe, {"teacher_revision": "0"}).plan
    assert valid(plan, tmp_path) == 3
    said = [message["content"] for each in completed(tmp_path) for message in each["values"]["dialogue"]]
    assert len(set(said)) == len(said)
