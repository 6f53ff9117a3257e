"""Evaluations of what is made over rows: the rows of eval.jsonl are those that are measured."""

from __future__ import annotations

import json
from pathlib import Path

from tests.evaluation.helpers import STUDENT, evaluation, served
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import rows, synth

HEAD = """edition 1

recipe measured { seed = 5 }

model writer: model<chat, json> from openai("writer")

schema Ticket {
  id: text
  body: text
}

source tickets: Ticket from jsonl("rows.jsonl", id = "id")

conversation first over ticket in tickets {
  turn ask: user = "Row {{ ticket.body }}"
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}

conversation second over parent in first {
  turn ask: user = "Again {{ parent.ask }}"
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}

conversation plain times 10 {
  turn ask: user = "Question {{ nth }}"
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}

mix all_of {
  a 50% from first
  b 50% from plain
  total = 20
}

mix often {
  a 80% from second
  b 20% from plain
  total = 50
  when_short = repeat
}

"""
NAMES = ("first", "second", "plain", "all_of", "often")


def test_the_rows_of_the_eval_split_are_measured_whatever_they_are_made_over(tmp_path: Path) -> None:
    text = "".join(
        f'export {name}_rows: messages from {name} to "out/{name}" {{ split = 50% }}\n'
        + evaluation("emoji(at_most = 0%)", of=f"{name}_rows", name=f"of_{name}")
        for name in NAMES
    )
    (tmp_path / "synth.toml").write_text("", "utf-8")
    (tmp_path / "made.recipe").write_text(HEAD + text, "utf-8")
    tickets = [json.dumps({"id": f"t{number}", "body": f"number {number}"}) for number in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(tickets), "utf-8")
    with OpenAIServer() as server:
        env = served(server)
        for words in (("run", "made.recipe"), ("materialize", "made.recipe")):
            done = synth(*words, cwd=tmp_path, env=env)
            assert done.status == 0, done.err
        asked = server.total
        result = synth("evaluate", "made.recipe", *STUDENT, "--json", cwd=tmp_path, env=env)
        assert result.status == 0, result.err
        told = {each["of"].removesuffix("_rows"): each for each in result.json()["evaluations"]}
        # Of the copies of a row the first is asked about.
        wanted = {name: _asks(tmp_path / "out" / name / "eval.jsonl") for name in NAMES}
        assert all(wanted.values())
        assert {name: each["held_out"] for name, each in told.items()} == {
            name: len(each) for name, each in wanted.items()
        }
        for name, each in told.items():
            (student,) = (one for one in each["measures"] if one["of"] == "student")
            assert (student["judged"], student["note"]) == (len(wanted[name]), "")
        said = [received.body["messages"][-1]["content"] for received in server.received[asked:]]
    assert {ask for name in NAMES for ask in wanted[name]} == set(said)


def _asks(path: Path) -> set[str]:
    return {row["messages"][0]["content"] for row in rows(path)}
