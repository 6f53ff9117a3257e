"""What `synth compile` foresees: tokens as prompts will hold them, money by whose prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from synth.base.errors import ConfigError
from synth.cli.compile import command
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import synth
from tests.runtime.test_run import served

HEAD = """edition 1
recipe x { seed = 1 }
model w: model<chat, json> from openai("gpt-4o") { max_tokens = 2000 }
model l: model<chat, template> from pocket()
"""


def compiled(folder: Path, text: str, *arguments: str) -> Any:
    (folder / "x.recipe").write_text(HEAD + text)
    result = CliRunner().invoke(command, [str(folder / "x.recipe"), "--json", *arguments])
    assert result.exit_code == 0, getattr(result.exception, "diagnostics", result.exception)
    return json.loads(result.stdout)


def tokens(folder: Path, text: str, *arguments: str) -> dict[str, tuple[float, float]]:
    """Tokens of a prompt and of an answer by step."""
    return {
        f"{step['cohort']}.{step['step']}": (
            step["prompt_tokens"] / max(1, step["calls"]),
            step["completion_tokens"] / max(1, step["calls"]),
        )
        for step in compiled(folder, text, *arguments)["steps"]
    }


def test_a_judge_reads_the_answer(tmp_path: Path) -> None:
    estimates = tokens(
        tmp_path,
        """
conversation c times 100 {
  turn q: user = "Hello"
  turn a: model by w { prompt = "Write a long essay", check { approved_by(w, "Good?") }, retry = 3 }
}
""",
    )
    assert estimates["c.a.approved_by"][0] > estimates["c.a"][1]


def test_a_prompt_is_counted_with_all_that_it_quotes(tmp_path: Path) -> None:
    """Composed turns, members of sets, fields of JSON, system texts and whole transcripts."""
    long = "a word and " * 400
    estimates = tokens(
        tmp_path,
        f"""
schema craft {{ called: text, story: text }}
set crafts: craft {{
  long 50% {{ called = "L", story = "{long}" }}
  short 50% {{ called = "S", story = "brief" }}
}}
schema Two {{ small: text(1..40), large: text(1..4_000) }}
conversation c times 10 {{
  draw craft from crafts
  turn q: user = "{long}"
  turn a: model by l {{ sees = transcript, max_tokens = 300 }}
  turn again: user = "And then?"
  turn b: model by l {{ sees = transcript, max_tokens = 300 }}
  step told: text by w {{ prompt = "{{{{ craft.story }}}}", max_tokens = 10 }}
  step warned: text by w {{ system = "{long}", prompt = "Go", max_tokens = 10 }}
  step record: json<Two> by w {{ prompt = "Go" }}
  step small: text by w {{ prompt = "{{{{ record.small }}}}" }}
  step large: text by w {{ prompt = "{{{{ record.large }}}}" }}
}}
""",
    )
    whole = 1_100
    assert estimates["c.a"][0] >= whole
    assert estimates["c.b"][0] >= estimates["c.a"][0] + 200
    assert whole / 2 <= estimates["c.told"][0] <= whole / 2 + 20, "half of the members are long"
    assert estimates["c.warned"][0] >= whole
    assert estimates["c.small"][0] < estimates["c.large"][0] < estimates["c.record"][1]


def test_passages_and_pairs_are_counted(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nSomething.\n")
    estimates = tokens(
        tmp_path,
        """
source docs: chunk from folder("docs") { split = by_heading(max_words = 100, overlap = 0) }
conversation c times 10 {
  let few = retrieve(docs, query = "something", top_k = 1)
  let many = retrieve(docs, query = "something", top_k = 8)
  turn q: user = "Which?"
  turn a: model by w { prompt = "{{ few | numbered }}", check { length(1..2_000) } }
  step b: text by w { prompt = "{{ many | numbered }}" }
}
preference p from c {
  turn padded: model by w { prompt = "Say it longer: {{ c.a }}" }
  rejected = padded
  chosen = c.a
}
""",
    )
    assert estimates["c.b"][0] >= 4 * estimates["c.a"][0] > 400
    assert estimates["p.padded"][0] > estimates["c.a"][1]


def test_what_the_log_measured_of_one_step_counts_for_those_that_quote_it(tmp_path: Path) -> None:
    text = """
conversation c times 4 {
  turn q: user = "Hello"
  turn a: model by w { prompt = "Go", check { length(400..500) } }
  turn q2: user = "And?"
  turn b: model by w { prompt = "{{ a }}" }
}
"""
    first = text.replace('turn q2: user = "And?"', "").replace(
        'turn b: model by w { prompt = "{{ a }}" }', ""
    )
    (tmp_path / "x.recipe").write_text(HEAD + first)
    assert synth("run", "x.recipe", "--simulate", cwd=tmp_path).status == 0
    estimates = tokens(tmp_path, text, "--simulate", "--log", str(tmp_path / "synth.duckdb"))
    assert 90 <= estimates["c.b"][0] <= 140


def test_only_what_the_same_model_answered_is_measured(tmp_path: Path) -> None:
    """A simulation says nothing of a real model, and what one model did nothing of another; nor does it
    take a key to look."""
    pytest.importorskip("openai")
    text = """
conversation c times 2 {
  turn q: user = "Hello"
  turn a: model by w { prompt = "Go", max_tokens = 60 }
}
"""
    (tmp_path / "x.recipe").write_text(HEAD + text)
    log = ("--log", str(tmp_path / "synth.duckdb"))

    def measured(*options: str) -> list[bool]:
        return [step["measured"] for step in compiled(tmp_path, text, *log, *options)["steps"]]

    assert synth("run", "x.recipe", "--simulate", cwd=tmp_path).status == 0
    assert measured("--simulate") == [True]
    assert measured() == [False]
    assert "~" in synth("compile", "x.recipe", *log, cwd=tmp_path).out
    with OpenAIServer(answer=lambda asked: "Yes.") as server:
        assert synth("run", "x.recipe", cwd=tmp_path, env=served(server)).status == 0
    assert measured() == [True]
    assert measured("--model", "w=openai:another") == [False]


def test_prices_of_known_models_are_known(tmp_path: Path) -> None:
    """Those of synth.toml go over them; a model that nobody knows is named; what runs here is free."""
    pytest.importorskip("genai_prices")
    text = """
model g: model<chat> from gemini("gemini-2.5-flash")
model u: model<chat> from openai("nobody-knows-1")
model p: model<chat> from pocket()
conversation c times 1000 {
  turn q: user by w { prompt = "Ask", retry = 3 }
  turn a: model by g { prompt = "{{ q }}" }
  step s: text by u { prompt = "{{ q }}" }
  step t: text by p { prompt = "{{ q }}" }
}
"""
    (tmp_path / "synth.toml").write_text('[prices."gpt-4o"]\ninput = 1\noutput = 7.0\n')
    steps = {step["step"]: step for step in compiled(tmp_path, text)["steps"]}
    assert steps["q"]["prices"] == "synth.toml"
    assert steps["q"]["cost"] == pytest.approx(
        (steps["q"]["prompt_tokens"] * 1 + steps["q"]["completion_tokens"] * 7) / 1e6
    )
    assert steps["q"]["most_calls"] == 4000
    assert steps["a"]["prices"].startswith("genai-prices ")
    assert "google gemini-2.5-flash" in steps["a"]["prices"]
    assert steps["a"]["cost"] > 0
    assert (steps["s"]["cost"], steps["t"]["cost"]) == (None, None)
    out = synth("compile", "x.recipe", cwd=tmp_path).out
    assert "`w` by synth.toml" in out
    assert "`g` by genai-prices" in out
    assert "No price of `u` (openai:nobody-knows-1) is known" in out
    assert "`p`" not in out
    assert "with every one of them" in out


@pytest.mark.parametrize(
    "line", ["input = nan", "input = inf", "input = -1", "cached_input = -0.1", "other = 1"]
)
def test_a_price_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    rest = "output = 1\n" if line.startswith("input") else "input = 1\noutput = 1\n"
    (tmp_path / "synth.toml").write_text(f"[prices.x]\n{line}\n{rest}")
    (tmp_path / "x.recipe").write_text(
        HEAD
        + 'conversation c times 1 {\n  turn q: user = "Hi"\n  turn a: model by l { sees = transcript }\n}\n'
    )
    result = CliRunner().invoke(command, [str(tmp_path / "x.recipe")])
    assert isinstance(result.exception, ConfigError)
    assert line.partition(" ")[0] in str(result.exception)
