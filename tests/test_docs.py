"""What the documents show is what the product does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from synth.cli import COMMANDS
from synth.compiler.compile import compile_text
from tests.kit.support import ROOT, synth

STAGES = ("synth", "dsl", "compiler", "store", "runtime")
README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_recipe_compiles_without_a_word() -> None:
    recipes = [block for block in re.findall(r"```\n(.*?)```", README, re.S) if block.startswith("edition")]
    assert recipes
    for recipe in recipes:
        compiled = compile_text(recipe, "README.md")
        assert compiled.warnings == ()
        assert compiled.plan.cohorts[0].quota == 12


def test_the_readme_names_every_command() -> None:
    for name in COMMANDS:
        assert f"synth {name}" in README


def test_the_page_of_commands_is_what_they_say() -> None:
    # In a process of its own: a command that was shown without the one above it keeps what it said.
    script = "import runpy, sys; sys.stdout.write(runpy.run_path('scripts/commands.py')['page']())"
    made = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert (ROOT / "docs/commands.md").read_text("utf-8") == made.stdout, (
        "`python scripts/commands.py` makes it"
    )


def test_every_link_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    # A name alone is of the room that its paragraph is about.
    files = {path.name for stage in STAGES for path in (ROOT / stage).rglob("*")}
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.(?:py|lark)|/))`", text):
        assert (ROOT / name).exists() if "/" in name else name in files, name


def test_check_finds_nothing_in_the_recipes(tmp_path: Path) -> None:
    recipes = sorted((ROOT / "recipes").rglob("*.recipe"))
    assert len(recipes) >= 5
    found = synth("check", *recipes, cwd=tmp_path)
    assert (found.status, found.err) == (0, "")
    assert synth("fmt", "--check", *recipes, cwd=tmp_path).status == 0
