"""Damaged recipes: always diagnostics, never an exception, and few of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.base.diagnostics.source import Source
from synth.compiler.compile import diagnose
from synth.dsl.read import read_text
from tests.kit.support import ROOT, SOAK

PATHS = {
    "persona": ROOT / "recipes/persona.recipe",
    "pillars": ROOT / "recipes/pillars.recipe",
    "rag": ROOT / "recipes/rag.recipe",
}
TEXTS = {name: path.read_text("utf-8") for name, path in PATHS.items()}


def how_many(text: str, path: Path) -> int:
    """How many diagnostics a text gets, as if it stood in a file."""
    source, faults = read_text(text, path.name)
    placed = Source(source.name, source.text, path, source.replaced)
    return len(diagnose(placed, faults, {}, lenient=True).diagnostics.sorted())


def share_of_few(counts: Counter[int]) -> float:
    return sum(n for number, n in counts.items() if number <= 2) / counts.total()


@pytest.mark.parametrize("name", PATHS)
def test_losing_any_line_bracket_or_quote_is_said_in_two_words_at_most(name: str) -> None:
    text, path = TEXTS[name], PATHS[name]
    lines = text.split("\n")
    damaged = ["\n".join(lines[:i] + lines[i + 1 :]) for i in range(len(lines))]
    damaged += [text[:i] + text[i + 1 :] for i, c in enumerate(text) if c in '{}()[]<>"']
    counts = Counter(how_many(variant, path) for variant in (damaged if SOAK else damaged[::3]))
    assert share_of_few(counts) >= 0.95, counts
    assert max(counts) <= 6, counts


INSERTED = st.sampled_from(
    [*"{}()[]<>\"'=:,.|#%?!-\n\t \\", '"""', "{{", "}}", "//", "\u202e", "ß", "1_0", "..", "turn "]
)

EDITS = 10_000 if SOAK else 200


@pytest.mark.slow
def test_random_edits_never_raise_and_are_mostly_one_fault() -> None:
    counts: Counter[int] = Counter()

    # The same edits every time: the share is a figure, and near its bound chance would decide.
    @settings(
        max_examples=EDITS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(sorted(TEXTS)),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 12),
        INSERTED,
        st.booleans(),
    )
    def edit(name: str, place: float, length: int, inserted: str, cut: bool) -> None:
        text = TEXTS[name]
        at = int(place * len(text))
        changed = text[:at] + ("" if cut else inserted) + text[at + length :]
        counts[how_many(changed, PATHS[name])] += 1

    edit()
    assert counts.total() >= EDITS
    assert share_of_few(counts) >= 0.95, counts
