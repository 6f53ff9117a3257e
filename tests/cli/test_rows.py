"""Conversations on a terminal: what a limited run shows when it is done."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from synth.base.display import text_width
from synth.cli.rows import sample_lines, wrapped
from synth.store.dataset.inputs.samples import LoggedSample, Refusal
from tests.kit.support import synth

RECIPE = r"""edition 1
recipe shown { seed = 3 }
model base: model<chat> from simulated()
personas tempers {
  exact 1 { voice = "an exact" }
}
conversation talk times 4 {
  draw temper from tempers
  turn question: user = "Be {{ temper.voice }} \u{1b}[31mred\u{1b}[0m \u{202e}helper"
  turn answer: model by base {
    prompt = "{{ question }}"
    check {
      length(1..900)
    }
    retry = 3
  }
  train_on = [answer]
}
export train: messages from talk to "out"
"""


def test_a_limited_run_shows_rows_and_what_was_refused(tmp_path: Path) -> None:
    (tmp_path / "shown.recipe").write_text(RECIPE)
    told = synth("run", "shown.recipe", "--limit", "2", cwd=tmp_path).out
    assert told.count("\ntalk  ") == 2
    assert "  user     Be an exact ␛[31mred␛[0m <U+202E>helper\n  model *  " in told
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert told.splitlines()[-1] == "Next: synth materialize shown.recipe --partial"
    assert "\ntalk  " not in synth("run", "shown.recipe", cwd=tmp_path).out
    # Answers that the log holds do not pass a check that is stricter now.
    (tmp_path / "shown.recipe").write_text(RECIPE.replace("1..900", "1..9"))
    stricter = synth("run", "shown.recipe", "--limit", "2", cwd=tmp_path).out
    assert "  refused  answer by length: has " in stricter
    assert " characters; at most 9 are allowed\n           " in stricter


ACTING = "\x1b]0;title\x07 \u2066isolated\u2069 \ud800 \r\tab\u0301c"
HOSTILE = f"{ACTING} 日本語の文章 مرحبا {'word ' * 90}{'x' * 9_000_000}"


@pytest.mark.parametrize("width", [20, 49, 60, 80, 120])
def test_lines_fit_and_do_nothing_to_a_terminal(width: int) -> None:
    message = {"role": "model", "content": HOSTILE, "weight": 1, "thought": HOSTILE}
    refusal = Refusal("answer", "length", HOSTILE, HOSTILE)
    sample = LoggedSample("f00d", "talk", {"temper": HOSTILE}, (("answer", message),), (refusal,))
    lines = [click.unstyle(line) for line in sample_lines(sample, width)]
    assert all(text_width(line) <= width for line in lines)
    assert all(char not in line for line in lines for char in "\x1b\x07\r\t\u2066\u2069\ud800")
    assert len(lines) < 45


def test_texts_are_broken_at_spaces_and_cut_at_the_end() -> None:
    assert wrapped("one two three", 7, 9) == ["one two", "three"]
    assert wrapped("abcdefghij kl", 4, 9) == ["abcd", "efgh", "ij", "kl"]
    assert wrapped("a\n\n b", 4, 9) == ["a", "", " b"]
    assert wrapped("one two three four", 5, 2) == ["one", "two …"]
    assert wrapped("日本語の文章", 5, 9) == ["日本", "語の", "文章"]
    assert wrapped("", 5, 9) == [""]
