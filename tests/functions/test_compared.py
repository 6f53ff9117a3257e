"""Answers that are compared with every row of a source."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth
from tests.runtime.test_run import served

RECIPE = """edition 1

recipe r { seed = 1 }

model m: model<chat> from openai("a")

schema Held { question: text, tags: list<text>? }

source held: Held from jsonl("held.jsonl", id = "id") { keep { length(question, 5..) } }

conversation c times 3 {
  turn ask: user by m {
    prompt = "Ask {{ nth }}."
    check { differs_from(held.question, similarity = 0.7), differs_from(ask, held.tags) }
    retry = 3
  }
  turn answer: model = "It is {{ ask }}"
}

export train: messages from c to "out/train"
"""


def hold(folder: Path, *held: str, tags: tuple[str, ...] = ()) -> None:
    lines: list[dict[str, object]] = [{"id": f"id {at}", "question": text} for at, text in enumerate(held)]
    lines.append({"id": "tags", "question": "of nothing at all", "tags": list(tags)})
    (folder / "held.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def refusals(folder: Path) -> list[str]:
    asked = "SELECT payload ->> 'reason' FROM events WHERE kind = 'step.rejected' ORDER BY seq"
    return sorted(reason for (reason,) in query(folder / "l.duckdb", asked))


def test_what_is_like_a_held_row_is_refused_and_a_changed_file_judges_anew(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(RECIPE)
    hold(tmp_path, "What is the river one called?", "Ask", tags=("Which lake is three?",))
    seen: dict[str, int] = {}

    def answer(asked: Asked) -> str:
        prompt = asked.messages[0][1]
        seen[prompt] = number = seen.get(prompt, 0) + 1
        texts = {
            "Ask 1.": ("what is the  RIVER one called", "Why do deer shed antlers?", "How old is slate?"),
            "Ask 2.": ("Ask", "Who made paper first?"),
            "Ask 3.": ("which lake is THREE?", "Where does amber come from?"),
        }[prompt]
        return texts[min(number, len(texts)) - 1]

    with OpenAIServer(answer=answer) as server:

        def command(name: str, *more: str) -> str:
            done = synth(name, "r.recipe", "--log", "l.duckdb", *more, cwd=tmp_path, env=served(server))
            assert done.status == 0, done.err
            return done.out

        command("run")
        assert refusals(tmp_path) == [
            "is 100% like `tags` of `tags` in `held`",
            "is 96% like `question` of `id 0` in `held`",
        ]
        assert "3 samples came out as logged" in command("replay")
        command("materialize")
        first = rows(tmp_path / "out/train/train.jsonl")

        calls = server.total
        hold(tmp_path, "Why do deer shed their antlers?", tags=("Which lake is three?",))
        # What the first row refused before stands now: it is in the log, and nothing is asked for.
        assert "0 calls to make" in command("compile")
        command("run")
        assert server.total == calls
        assert "3 samples came out as logged" in command("replay")
        command("materialize")
        assert "the last run; the log" not in command("materialize")
        second = rows(tmp_path / "out/train/train.jsonl")
        said = [[row["messages"][0]["content"] for row in some] for some in (first, second)]
        assert set(said[0]) - set(said[1]) == {"Why do deer shed antlers?"}
        assert set(said[1]) - set(said[0]) == {"what is the  RIVER one called"}

        hold(tmp_path, "What is the river one called?", "Why do deer shed their antlers?")
        command("run")
        assert server.total == calls + 1
        command("materialize")
        verified = synth("verify", "out/train", cwd=tmp_path)
        assert verified.status == 0, verified.err


def test_runs_of_words_are_found_whatever_stands_around_them(tmp_path: Path) -> None:
    composed = RECIPE.replace("times 3", "times 4").replace(
        'turn ask: user by m {\n    prompt = "Ask {{ nth }}."',
        'draw s from ["So: which RIVER, is, longest?", "Which river is long"]\n'
        '  turn ask: user = "{{ s }}" {',
    )
    asked = composed.replace("    retry = 3\n", "").replace("similarity = 0.7", "ngram = 4")
    (tmp_path / "r.recipe").write_text(asked)
    hold(tmp_path, "Tell me which river is longest in the world")
    done = synth("run", "r.recipe", "--log", "l.duckdb", "--simulate", cwd=tmp_path)
    assert done.status == 3, done.err
    assert set(refusals(tmp_path)) == {"shares 4 words in a row with `question` of `id 0` in `held`"}
    (tmp_path / "r.recipe").write_text(asked.replace("ngram = 4", "ngram = 0"))
    checked = synth("check", "r.recipe", cwd=tmp_path)
    assert "a run has at least one word" in checked.err + checked.out


def test_what_is_composed_like_a_held_row_costs_its_sample_and_replays(tmp_path: Path) -> None:
    composed = RECIPE.replace("times 3", "times 4").replace(
        'turn ask: user by m {\n    prompt = "Ask {{ nth }}."',
        'draw s from ["What is the river one called?", "Where is Mali?"]\n  turn ask: user = "{{ s }}" {',
    )
    (tmp_path / "r.recipe").write_text(composed.replace("    retry = 3\n", ""))
    hold(tmp_path, "What is the river one called?")
    done = synth("run", "r.recipe", "--log", "l.duckdb", "--simulate", cwd=tmp_path)
    assert done.status == 3, done.err
    assert set(refusals(tmp_path)) == {"is 100% like `question` of `id 0` in `held`"}
    replayed = synth("replay", "r.recipe", "--log", "l.duckdb", cwd=tmp_path)
    assert replayed.status == 0, replayed.err
    assert "came out as logged" in replayed.out
