"""What a person reads: the table, and one sentence for whatever keeps it from being made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.helpers import DIRECT, HEAD, evaluation, project, served
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import QUICKSTART, one_sentence, synth

EMOJI = evaluation("emoji(at_most = 0%)")


def test_a_recipe_without_an_evaluation(tmp_path: Path) -> None:
    sentence = one_sentence(synth("evaluate", QUICKSTART, cwd=tmp_path), 1)
    assert sentence.startswith("the recipe `quickstart` declares no evaluation, such as `evaluation ")


def test_a_log_that_is_not_there_or_has_no_run(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + EMOJI)
    for arguments in ((), ("--student", "simulated:s")):
        assert "there is no log at" in one_sentence(made.evaluate(*arguments), 5)
        assert not made.log.exists()
    (tmp_path / "other").mkdir()
    other = project(tmp_path / "other", DIRECT.replace("Question", "Ask"))
    other.tell({"direct": ["plain"] * 10})
    other.log.rename(made.log)
    sentence = one_sentence(made.evaluate("--student", "simulated:s"), 3)
    assert sentence == "the log has no run of `direct` as this recipe describes it: `synth run` it first"


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("gpt-4o", "--student gpt-4o: there is no backend `gpt-4o`"),
        ("opanai:gpt-4o", "there is no backend `opanai`; did you mean `openai`?"),
        ("openai:", "--student openai:: say which model: openai:ID"),
        ("", "--student : write BACKEND:ID[@REVISION], such as openai:gpt-4o"),
        ("student=openai:x", "there is no backend `student=openai`"),
        ("openai:gpt-4o", "the openai backend needs an API key: set OPENAI_API_KEY"),
    ],
)
def test_a_student_that_cannot_be(tmp_path: Path, student: str, said: str) -> None:
    made = project(tmp_path, DIRECT + EMOJI)
    made.tell({"direct": ["plain"] * 10})
    # What no files could make right is a wrong use.
    assert said in one_sentence(made.evaluate("--student", student), 1 if "API key" in said else 2)


def test_a_model_that_the_recipe_does_not_have(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + EMOJI)
    made.tell({"direct": ["plain"] * 10})
    sentence = one_sentence(made.evaluate("--model", "student=openai:x", "--student", "openai:x"), 2)
    assert "the recipe uses no model `student`; its models are `writer`" in sentence


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + EMOJI)
    made.tell({"direct": ["plain"] * 10})
    sentence = one_sentence(made.evaluate("-o", "nowhere/measures.json"), 1)
    assert sentence == "nowhere/measures.json cannot be written: No such file or directory"


def test_a_simulation_is_told_from_data(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + EMOJI)
    assert synth("run", made.recipe, "--simulate", cwd=tmp_path).status == 0
    result = made.evaluate("--simulate", "--student", "simulated:s")
    assert result.status == 0
    assert result.err.splitlines() == [
        "warning: `student` is simulated: its answers are a simulation, not data",
        "warning: simulated models wrote `direct`: these rows are a simulation",
    ]
    told = made.evaluate("--json").json()
    assert told["warnings"] == ["simulated models wrote `direct`: these rows are a simulation"]


def test_the_table_says_what_holds_and_what_does_not(tmp_path: Path) -> None:
    head = HEAD + 'model small: model<chat> from openai("small")\n'
    text = evaluation(
        "emoji(at_most = 10%)",
        'forbidden_words("no", at_most = 0%)',
        'refusals("no", student = small, at_least = 5%, at_most = 20%)',
    )
    made = project(tmp_path, DIRECT.replace(" { split = 50% }", "") + text, head=head)
    names = made.tell({"direct": ["🙂", "No,\n no.", *["plain"] * 8]})
    with OpenAIServer(answer=lambda asked: "plain") as server:
        result = made.evaluate("-o", "measures.json", env=served(server))
        again = made.evaluate(env=served(server))
    assert (result.status, result.err) == (3, "")
    assert result.out.splitlines() == [
        "quality of train: 10 rows, none held out since the export has no split",
        "",
        "  measure          of                value             bound  judged",
        "  emoji            dataset  holds   10.00%            <= 10%      10",
        "  forbidden_words  dataset  MISSED  10.00%             <= 0%      10",
        "  refusals         small    MISSED   0.00%  <= 20% and >= 5%      10",
        "",
        "  forbidden_words of dataset: for example",
        f"    {names[1]}  holds `no`",
        "",
        "small was given 256 tokens for an answer, from the longest one in the rows.",
        "10 calls made.",
    ]
    assert again.out.splitlines()[-1] == "0 calls made: every answer is in the log."
    kept = json.loads((tmp_path / "measures.json").read_text("utf-8"))
    assert kept["recipe"] == "measured"
    assert kept["held"] is False
    assert [each["value"] for each in kept["evaluations"][0]["measures"]] == [10, 10, 0]
