"""The RAG recipe's evaluation of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import synth
from tests.runtime.recipes.test_rag import careful, completed, served
from tests.runtime.recipes.test_rag_engines import REVISION, edited

pytestmark = pytest.mark.embeds


@pytest.mark.slow
def test_the_dataset_keeps_its_own_bounds(tmp_path: Path) -> None:
    """Refusals and voices are measured of the rows alone; the student is asked nothing here."""
    recipe = edited(
        tmp_path,
        (r"\n## What the student makes of it.*", "\n"),
        (r"tone\(at_least = 40%\)", "tone(at_most = 100%)"),
    )
    small = (*REVISION, "--set", "per_category=17")
    with OpenAIServer(answer=careful) as server:
        command = ("run", recipe, *small, "--model", "teacher=openai:gpt-4o", "--json")
        ran = synth(*command, cwd=tmp_path, env=served(server))
        assert ran.status == 0, ran.err
    evaluated = synth("evaluate", recipe, *small, "--json", cwd=tmp_path)
    assert evaluated.status == 0, evaluated.err + evaluated.out
    (evaluation,) = evaluated.json()["evaluations"]
    measured = {each["measure"]: each for each in evaluation["measures"]}
    techniques = [sample["cell"]["technique"] for sample in completed(tmp_path)]
    assert measured["refusals"]["value"] == 100
    assert measured["refusals"]["judged"] == techniques.count("hard_negative") == 51
    assert measured["tone"]["judged"] > 0
