"""Commands as a person meets them: help at once, a starter project, questions to the log."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synth.cli.init import METHODS
from tests.kit.support import PERSONA, QUICKSTART, REVISION, ROOT, environment, one_sentence, synth
from tests.runtime.test_run import persona

HEAVY = ("pydantic", "duckdb", "lark", "rich", "torch", "vllm", "transformers", "openai", "google", "aiohttp")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """Help answers at once because it loads no command and no library but click."""
    script = f"""
import sys
sys.argv = ["synth", "--help"]
from synth.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stderr.strip() == "[]"
    assert "Generate until every quota is met." in done.stdout


def test_every_command_has_its_help(tmp_path: Path) -> None:
    from synth.cli import COMMANDS

    for name, summary in COMMANDS.items():
        result = synth(name, "--help", cwd=tmp_path)
        assert result.status == 0
        assert summary.rstrip(".").split(",")[0].split()[0] in result.out


def test_a_starter_project_runs(tmp_path: Path) -> None:
    made = synth("init", "new", cwd=tmp_path)
    assert made.status == 0
    assert made.out.splitlines()[-2:] == [
        "Next: cd new",
        "      synth run quickstart.recipe --simulate   (or --pocket, for a real small model)",
    ]
    folder = tmp_path / "new"
    assert {path.name for path in folder.iterdir()} == {"quickstart.recipe", "synth.toml", ".gitignore"}
    (folder / "synth.toml").write_text("# mine\n")
    assert synth("init", "new", cwd=tmp_path).status == 0
    assert (folder / "synth.toml").read_text() == "# mine\n", "what is there is left alone"
    assert "cd " not in synth("init", cwd=folder).out
    assert synth("run", "quickstart.recipe", "--simulate", cwd=folder).status == 0
    assert synth("materialize", "quickstart.recipe", cwd=folder).status == 0
    assert (folder / "out/quickstart/train.jsonl").exists()


@pytest.mark.parametrize("name", METHODS)
def test_a_project_begins_with_the_recipe_of_a_known_method(name: str, tmp_path: Path) -> None:
    """All that it reads is there; `tests/runtime/recipes` runs them."""
    made = synth("init", "--from", name, "new", cwd=tmp_path)
    assert made.status == 0, made.err
    folder = tmp_path / "new"
    assert not (folder / "quickstart.recipe").exists()
    written = (folder / f"{name}.recipe").read_text("utf-8")
    assert written == (ROOT / f"recipes/{name}.recipe").read_text("utf-8")
    read = set(re.findall(r'"((?:data|lib)/[^"]+)"', written))
    assert read == set(METHODS[name].data)
    assert all((folder / path).exists() for path in METHODS[name].data)
    (told,) = [line.split("(")[0] for line in made.out.splitlines() if "synth run" in line]
    arguments = told.split("synth run ")[1].replace("--simulate", "").split()
    compiled = synth("compile", *arguments, cwd=folder)
    assert compiled.status == 0, compiled.err
    assert "warning" not in compiled.err


def test_the_known_methods_are_listed(tmp_path: Path) -> None:
    listed = synth("init", "--list", cwd=tmp_path)
    assert listed.status == 0
    assert not list(tmp_path.iterdir())
    helped = " ".join(synth("init", "--help", cwd=tmp_path).out.split())
    for name, method in METHODS.items():
        assert any(line.startswith(name) and method.does in line for line in listed.out.splitlines())
        assert method.does in helped
    fault = synth("init", "--from", "tikets", "new", cwd=tmp_path)
    assert fault.status == 2
    assert "there is no recipe `tikets`; did you mean `tickets`?" in fault.err
    assert not list(tmp_path.iterdir())


def test_the_starter_recipe_is_the_quickstart() -> None:
    assert (ROOT / "synth/starter/quickstart.recipe").read_bytes() == QUICKSTART.read_bytes()


def test_compile_says_what_will_be_made(tmp_path: Path) -> None:
    result = synth("compile", PERSONA, *REVISION, "-o", "plan.json", cwd=tmp_path)
    assert "identity: 1,000 conversations" in result.out
    assert "draw temper: plain 500, warm 300, odd 200" in result.out
    assert "4,000 calls to make, about " in result.out
    from synth.compiler.plan.model import Plan

    text = (tmp_path / "plan.json").read_text("utf-8")
    assert Plan.from_json(text).to_json() == text


def test_prices_make_money(tmp_path: Path) -> None:
    recipe = tmp_path / "persona.recipe"
    recipe.write_bytes(PERSONA.read_bytes())
    (tmp_path / "synth.toml").write_text('[prices."gemini-2.5-flash"]\ninput = 0.3\noutput = 2.5\n')
    result = synth("compile", recipe, *REVISION, "--json", cwd=tmp_path)
    costs = {step["step"]: step["cost"] for step in result.json()["steps"]}
    assert costs["persona"] > 0
    assert costs["answer"] is None


def test_the_log_answers_questions(tmp_path: Path) -> None:
    assert synth("run", *persona(5, "--simulate"), cwd=tmp_path).status == 0
    asked = "SELECT kind, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL"
    found = {row["kind"]: row["n"] for row in synth("sql", asked, "--json", cwd=tmp_path).json()}
    assert found["sample.completed"] == 5
    assert "sample.completed" in synth("sql", asked, cwd=tmp_path).out
    assert synth("sql", asked, "--csv", cwd=tmp_path).out.startswith("kind,n\n")
    refused = synth("sql", "DELETE FROM events", cwd=tmp_path)
    assert refused.status == 1
    assert "is one SELECT" in refused.err
    more = synth("sql", "SELECT seq FROM events", "--rows", "3", cwd=tmp_path)
    assert "more than 3 rows" in more.err
    runs = synth("status", "--json", cwd=tmp_path).json()["runs"]
    assert [(run["recipe"], run["outcome"], run["samples"]) for run in runs] == [("persona", "finished", 5)]


def test_show_knows_beginnings_and_ambiguity(tmp_path: Path) -> None:
    assert synth("run", *persona(40, "--simulate"), cwd=tmp_path).status == 0
    rows = synth(
        "sql", "SELECT DISTINCT sample_id FROM events WHERE sample_id IS NOT NULL", "--json", cwd=tmp_path
    )
    names = [row["sample_id"] for row in rows.json()]
    story = synth("show", names[0][:14], "--json", cwd=tmp_path).json()
    assert {event["sample_id"] for event in story} == {names[0]}
    assert story[-1]["kind"] == "sample.completed"
    shared = next(name[0] for name in names if sum(other[0] == name[0] for other in names) > 1)
    assert "begins several samples" in synth("show", shared, cwd=tmp_path).err
    assert "knows no sample" in one_sentence(synth("show", "zz", cwd=tmp_path), 1)


def test_check_speaks_json_and_github(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.recipe"
    recipe.write_text(QUICKSTART.read_text("utf-8").replace("by base {", "by bsae {", 1))
    found = json.loads(synth("check", recipe, "--format", "json", cwd=tmp_path).out)
    assert [(each["code"], each["hint"]) for each in found] == [("E101", "did you mean `base`?")]
    line = found[0]["line"]
    assert f"line={line}" in synth("check", recipe, "--format", "github", cwd=tmp_path).out
    good = synth("check", QUICKSTART, cwd=tmp_path)
    assert (good.status, good.out) == (0, "1 recipe without a fault\n")
