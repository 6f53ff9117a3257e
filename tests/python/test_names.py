"""What `import synth` gives: names, versions, and nothing heavy until it is used."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import synth
from synth.base.version import VERSION
from tests.kit.support import QUICKSTART, ROOT, environment

HEAVY = (
    "pydantic",
    "duckdb",
    "lark",
    "rich",
    "torch",
    "transformers",
    "aiohttp",
    "click",
    "pandas",
    "pyarrow",
)


def test_every_public_name_is_there() -> None:
    assert {name for name in synth.__all__ if getattr(synth, name) is None} == set()
    assert set(synth.__all__) < set(dir(synth))
    assert synth.__version__ == VERSION
    with pytest.raises(AttributeError, match="module 'synth' has no attribute 'comple'"):
        synth.comple  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_is_light() -> None:
    script = f"import sys, synth; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_package_says_that_it_is_typed() -> None:
    for package in ("dsl", "compiler", "store", "runtime", "synth"):
        assert (ROOT / package / "py.typed").is_file()


def test_a_recipe_with_faults_shows_them_as_text(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.recipe"
    recipe.write_text(QUICKSTART.read_text("utf-8").replace("by base {", "by bsae {", 1))
    with pytest.raises(synth.RecipeError) as caught:
        synth.compile(recipe)
    text = str(caught.value)
    assert text.startswith("a fault in the recipe\n\nerror[E101]: `bsae` is not defined here")
    assert "did you mean `base`?" in text
    assert [each.code for each in caught.value.diagnostics] == ["E101"]
    assert caught.value._render_traceback_() == [f"RecipeError: {text}"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    assert synth.ConfigError("none").diagnostics == ()


def test_what_a_recipe_hardly_means_is_a_warning(tmp_path: Path) -> None:
    recipe = tmp_path / "unused.recipe"
    recipe.write_text(QUICKSTART.read_text("utf-8") + 'model unused: model<chat> from openai("m")\n')
    with pytest.warns(synth.RecipeWarning, match=r"warning\[W701\]: `unused` is never used"):
        synth.compile(recipe)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 0}, "`limit` is a whole number from 1 on, and 0 is not"),
        ({"limit": 2.5}, "`limit` is a whole number from 1 on, and 2.5 is not"),
        ({"limit": "3"}, "and '3' is not"),
        ({"max_cost": -1}, "`max_cost` is a number from 0 on, and -1 is not"),
        ({"patience": "x"}, "`patience` is a number from 0 on"),
        ({"max_minutes": float("nan")}, "`max_minutes` is a number from 0 on, and nan is not"),
    ],
)
def test_a_bound_that_is_none_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    plan = synth.compile(QUICKSTART)
    with pytest.raises(synth.ConfigError, match=re.escape(said)):
        synth.run(plan, log=tmp_path / "log.duckdb", backend="simulated", **options)
    assert not (tmp_path / "log.duckdb").exists()


def test_a_recipe_in_the_place_of_a_plan_is_told_what_makes_one(tmp_path: Path) -> None:
    for command in (synth.run, synth.materialize, synth.replay):
        with pytest.raises(synth.ConfigError, match="makes one of a recipe"):
            command(str(QUICKSTART), log=tmp_path / "log.duckdb")  # type: ignore[arg-type]
