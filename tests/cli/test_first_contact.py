"""What somebody sees who runs a recipe for the first time."""

from __future__ import annotations

from pathlib import Path

import synth as api
from synth.cli.progress import line
from synth.runtime.calls.models import Models
from synth.runtime.events.progress import Progress
from synth.runtime.money.usage import Usage
from synth.runtime.settings import Settings
from tests.kit.support import QUICKSTART, RECIPES, one_sentence, rows, synth

TWINS = """\
edition 1
recipe twins { seed = 1 }

model base: model<chat> from simulated()
model judge: model<chat> from simulated()

conversation first times 3 {
  turn question: user = "Hello?"
  turn answer: model by base { prompt = "{{ question }}" }
}

conversation second times 4 {
  turn question: user = "Good day?"
  turn answer: model by judge { prompt = "{{ question }}" }
}

export train: messages from first to "out/train"
export more: messages from second to "out/more"
"""


def test_steps_on_the_progress_line_carry_their_conversation(tmp_path: Path) -> None:
    recipe = tmp_path / "twins.recipe"
    recipe.write_text(TWINS)
    plan = api.compile(recipe)
    progress, models = Progress(plan, "run"), Models(plan, Settings())
    answers = [cohort.asking[0] for cohort in plan.cohorts]
    progress.issued(answers[0])
    progress.accepted(answers[0], 0)
    assert line(progress, models).split(maxsplit=1)[1] == "first 0/3, second 0/4, first.answer 1 (-)"
    progress.issued(answers[1])
    progress.cohorts["second"].in_log = 2
    assert line(progress, models).endswith("first.answer 1 (-), second.answer 2 (-)")


def test_the_progress_line_tells_tokens_money_and_what_is_left_of_it(tmp_path: Path) -> None:
    recipe = tmp_path / "twins.recipe"
    recipe.write_text(TWINS)
    plan = api.compile(recipe)
    progress = Progress(plan, "run", prices={"base": "synth.toml"}, max_cost=2.0)
    answer = plan.cohorts[0].asking[0]
    progress.issued(answer)
    progress.completed(answer, Usage(1_000, 500), 0.75)
    progress.failed(answer, "timeout", Usage(), 0.0, lost_cost=0.25)
    told = line(progress, Models(plan, Settings())).rpartition("tokens/s")[2]
    assert told == ", 1.00 spent, 1.00 left"


def test_a_warning_is_said_once_for_all_models(tmp_path: Path) -> None:
    (tmp_path / "twins.recipe").write_text(TWINS)
    result = synth("run", "twins.recipe", cwd=tmp_path)
    warnings = [each for each in result.err.splitlines() if each.startswith("warning: ")]
    assert warnings == ["warning: `base` and `judge` are simulated: their answers are a simulation, not data"]
    again = synth("run", RECIPES / "pillars.recipe", "--simulate", "--limit", "1", cwd=tmp_path)
    assert again.err.count("warning: ") == 1


def test_options_choose_whose_samples_are_meant(tmp_path: Path) -> None:
    """A log has a run and a simulation of one recipe: the last counts, unless the options say which."""
    small = ("--set", "conversations=3")
    first = ("--model", "base=simulated:first")
    for options in (first, ["--simulate"]):
        assert synth("run", QUICKSTART, *small, *options, cwd=tmp_path).status == 0
    last = synth("materialize", QUICKSTART, *small, cwd=tmp_path)
    assert last.out.splitlines()[-1] == (
        "Written by base = simulated:base: the last run; the log has samples by 1 other choice of models, "
        "and --model, --pocket or --simulate choose"
    )
    assert last.err.startswith("warning: the last run was a simulation, and so is this; the log has answers")
    said = rows(tmp_path / "out/quickstart/train.jsonl")
    chosen = synth("materialize", QUICKSTART, *small, *first, cwd=tmp_path)
    assert "warning" not in chosen.err
    assert chosen.out.splitlines()[-1].startswith("Written by base = simulated:first: as asked for; the log")
    assert rows(tmp_path / "out/quickstart/train.jsonl") != said
    # What was chosen is in the manifest, so that the dataset is verified as it was made.
    assert synth("verify", "out/quickstart", "--log", "synth.duckdb", cwd=tmp_path).status == 0
    replayed = synth("replay", QUICKSTART, *small, *first, cwd=tmp_path)
    assert replayed.out.startswith(
        "3 samples came out as logged\nWritten by base = simulated:first: as asked"
    )
    assert synth("materialize", QUICKSTART, *small, "--simulate", cwd=tmp_path).status == 0
    assert rows(tmp_path / "out/quickstart/train.jsonl") == said
    nobody = synth("materialize", QUICKSTART, *small, "--pocket", cwd=tmp_path)
    assert one_sentence(nobody, 3) == (
        "the log has no run of `identity` with the models that the options name: its last had "
        "base = simulated:base"
    )
