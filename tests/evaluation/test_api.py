"""The same from Python."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path

import pytest

import synth
from synth.base.errors import ConfigError
from tests.evaluation.helpers import DIRECT, HEAD, evaluation, project


def test_a_plan_is_evaluated_where_its_recipe_says(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    (tmp_path / "synth.toml").write_text('[models.writer]\nbackend = "simulated"\nid = "here"\n')
    plan = synth.compile(made.recipe)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with chdir(elsewhere):
        # The settings beside the recipe count, not those of the folder one happens to be in.
        assert synth.run(plan, log=made.log).outcome == "finished"
        report = synth.evaluate(plan, log=made.log, student=synth.Simulated("s"))
    assert report.held
    assert report.exit_status == 0
    (evaluated,) = report.evaluations
    assert [(each.of, each.value) for each in evaluated.measured] == [("dataset", 0.0), ("student", 0.0)]
    (run,) = report.runs
    assert run.counts["steps"][0]["issued"] == evaluated.held_out
    assert report.warnings == ("simulated models wrote `direct`: these rows are a simulation",)
    (again,) = synth.evaluate(plan, log=made.log, student=synth.Simulated("s")).runs
    assert again.counts["steps"][0]["issued"] == 0


def test_a_source_outside_the_project_may_be_allowed(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": chat}))
    text = """
source natural: messages from jsonl("../chat.jsonl")
mix training { all 100% from natural }
export train: messages from training to "out/train"
"""
    made = project(inner, text, head=HEAD.partition("model")[0])
    with pytest.raises(ConfigError, match="lies outside the project"):
        synth.run(made.plan, log=made.log)
    report = synth.run(made.plan, log=made.log, allowed=[tmp_path])
    assert [source.rows for source in report.sources] == [1]
