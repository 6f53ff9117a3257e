"""What would happen without a word is said: whose rows are measured, pairs that are lost, what a card
would lose, and a student that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.doors import call
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import QUICKSTART, one_sentence, synth
from tests.runtime.test_run import served
from tests.sources.helpers import write_lines

PAIRS = """edition 1
recipe pairs { seed = 1 }
model author: model<chat> from openai("a")
conversation c times 8 {
  turn q: user = "Question {{ nth }}?"
  turn a: model by author { prompt = "{{ q }}" }
}
preference better from c {
  turn worse: model by author {
    prompt = "Worsen: {{ c.a }}"
    check { opens_with_any("Yes") }
  }
  chosen = c.a
  rejected = worse
}
export train: preference from better to "out/pairs"
"""


def test_pairs_that_are_lost_are_counted_where_no_number_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "p.recipe").write_text(PAIRS)
    made = 0

    def answer(asked: Asked) -> str:
        nonlocal made
        if "Worsen" not in asked.messages[0][1]:
            made += 1
            return f"It is {made}."
        return "No." if "It is 3" in asked.messages[0][1] else f"Yes, {asked.key[:9]}."

    with OpenAIServer(answer=answer) as server:
        run = synth("run", "p.recipe", cwd=tmp_path, env=served(server))
    assert run.status == 0, run.err
    assert "every quota is met; `better` has 7 pairs, after losing 1." in run.out


def test_samples_that_are_lost_are_counted_where_no_number_was_asked_for(tmp_path: Path) -> None:
    write_lines(tmp_path / "c.jsonl", [{"q": f"Question {number}"} for number in range(4)])
    (tmp_path / "r.recipe").write_text(
        'edition 1\nrecipe r { seed = 1 }\nschema Q { q: text }\nsource found: Q from jsonl("c.jsonl")\n'
        'model one: model<chat> from openai("one")\nconversation told over row in found {\n'
        '  turn ask: user = "{{ row.q }}"\n'
        '  turn reply: model by one { sees = transcript, check { no_words("never") } }\n}\n'
    )

    def answer(asked: Asked) -> str:
        return "Never." if "Question 2" in asked.messages[-1][1] else f"Yes, {asked.key[:9]}."

    with OpenAIServer(answer=answer) as server:
        for _ in range(2):
            run = synth("run", "r.recipe", cwd=tmp_path, env=served(server))
            assert run.status == 0, run.err
            assert "every quota is met; `told` has 3 of 4 samples, and 1 came to none." in run.out


def test_rows_without_a_prompt_are_counted(tmp_path: Path) -> None:
    (tmp_path / "m.recipe").write_text(
        'edition 1\nrecipe m { seed = 1 }\nsource found: messages from jsonl("c.jsonl")\n'
        "mix all { found 100% from found }\n"
        'export train: prompt_completion from all to "out/train"\n'
        'export whole: messages from all to "out/whole"\n'
    )
    said = [("gpt", 'Hi, "prompt":[], I am Codex.'), ("human", "Who?"), ("gpt", "Codex.")]
    whole = [{"from": role, "value": text} for role, text in said]
    lines = [json.dumps({"conversations": each}) for each in (whole, whole[1:])]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    assert call("run", "m.recipe", cwd=tmp_path).status == 0
    made = call("materialize", "m.recipe", "--json", cwd=tmp_path).json()
    assert [each["rows"]["train"] for each in made] == [3, 2]
    assert made[1]["warnings"] == []
    assert made[0]["warnings"][0].startswith("1 row has an empty prompt, which TRL refuses")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    text = QUICKSTART.read_text("utf-8") + "\nevaluation quality of train { emoji(at_most = 100%) }\n"
    (tmp_path / "m.recipe").write_text(text)
    assert synth("run", "m.recipe", "--simulate", cwd=tmp_path).status == 0
    return tmp_path


def test_whose_rows_are_measured_is_said(measured: Path) -> None:
    told = "the log has no samples by `pocket`, so the rows that are measured are those of the last run"
    found = synth("evaluate", "m.recipe", "--pocket", cwd=measured)
    assert f"warning: {told}, written by base = simulated:base" in found.err
    assert told not in synth("evaluate", "m.recipe", "--simulate", cwd=measured).err
    assert told not in synth("evaluate", "m.recipe", cwd=measured).err


def test_a_student_that_is_no_checkpoint_is_told_apart(measured: Path) -> None:
    pytest.importorskip("transformers")
    (measured / "a_file").touch()
    for folder in ("empty", "kept", "odd@name"):
        (measured / folder).mkdir()
    for student, said in (
        ("transformers:./a_file", "`student` is to run on `./a_file`, which is a file"),
        ("transformers:./empty", "`student` is to run on `./empty`, which holds no config.json"),
        ("transformers:./nowhere", "`student` is to run on `./nowhere`, and there is no such directory"),
        ("transformers:./kept@v1", "./kept is a folder, which has no revisions"),
        ("vllm:./kept@v1", "leave `@v1` out"),
        ("transformers:./odd@name", "`student` is to run on `./odd@name`, which holds no config.json"),
    ):
        assert said in one_sentence(synth("evaluate", "m.recipe", "--student", student, cwd=measured), 1)


def test_a_card_that_somebody_changed_is_not_overwritten(measured: Path) -> None:
    make = ("materialize", "m.recipe")
    assert synth(*make, cwd=measured).status == 0
    card = measured / "out/quickstart/README.md"
    assert synth(*make, cwd=measured).status == 0, "ours is"
    written = card.read_text("utf-8") + "\nWhat we learnt of it.\n"
    card.write_text(written)
    said = one_sentence(synth(*make, cwd=measured), 1)
    assert "out/quickstart/README.md was changed since `synth materialize` wrote it: move it away" in said
    assert card.read_text("utf-8") == written
    card.rename(measured / "mine.md")
    assert synth(*make, cwd=measured).status == 0
    assert card.exists()


def test_status_tells_a_simulated_run_from_a_real_one(tmp_path: Path) -> None:
    (tmp_path / "m.recipe").write_text(
        """edition 1
recipe told { seed = 5 }

model one: model<chat> from openai("first")
model two: model<chat> from openai("second")

conversation c times 3 {
  turn ask: user = "Question {{ nth }}"
  turn answer: model by one { prompt = "{{ ask }}" }
  turn more: user by two { prompt = "Ask {{ answer }}" }
  turn last: model by one { sees = transcript }
}
"""
    )
    with OpenAIServer() as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        for options in (("--simulate",), (), ("--model", "two=simulated:x")):
            run = synth("run", "m.recipe", *options, cwd=tmp_path, env=env)
            assert run.status == 0, run.err
    told = [
        (each["models"], each["simulated"]) for each in synth("status", "--json", cwd=tmp_path).json()["runs"]
    ]
    assert told == [
        ({"one": "simulated:one", "two": "simulated:two"}, ["one", "two"]),
        ({"one": "openai:first", "two": "openai:second"}, []),
        ({"one": "openai:first", "two": "simulated:x"}, ["two"]),
    ]
    lines = synth("status", cwd=tmp_path).out.splitlines()[-3:]
    for line, words in zip(
        lines, (" simulated ", " openai:first, openai:second ", " openai:first, two simulated "), strict=True
    ):
        assert words in line
