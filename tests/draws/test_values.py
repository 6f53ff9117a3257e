"""Draws of single values: lists, ranges of numbers and of days, normal distributions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.strata import sample_id, slots
from synth.compiler.plan.tables.environment import environment
from tests.kit.support import rows, synth


def recipe(draw: str, times: int = 640, more: str = "") -> str:
    return (
        f"edition 1\nrecipe drawn {{ seed = 3 }}\n{more}\nconversation c times {times} {{\n"
        f'  {draw}\n  turn ask: user = "What of it?"\n}}\n'
        'export out: messages from c to "out" { columns = [c.x] }\n'
    )


def drawn(plan: Plan) -> dict[str, Any]:
    """The value of `x` in each sample, by the sample's name."""
    (cohort,) = plan.cohorts
    return {
        sample_id(plan, cohort, slot.cell.labels, slot.ordinal): environment(cohort, slot)["x"]
        for slot in slots(plan, cohort)
    }


def values(draw: str, times: int = 640, more: str = "") -> list[Any]:
    return list(drawn(compile_text(recipe(draw, times, more)).plan).values())


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("[true, false]", [True, False]),
        ("[1, 2.5]", [1, 2.5]),
        ("[-1, 0]", [-1, 0]),
        ('["a", "b"]', ["a", "b"]),
        ("[5%, 10%]", [5, 10]),
        ("sizes", [3, 4]),
        ("uniform(6..9)", [6, 7, 8, 9]),
        ("uniform(-1..1)", [-1, 0, 1]),
        ("uniform(0.5..1)", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("uniform(1.0..1.10)", [1 + n / 100 for n in range(11)]),
        ("uniform(span)", [2, 3]),
        ('dates("2024-02-28", "2024-03-01")', ["2024-02-28", "2024-02-29", "2024-03-01"]),
    ],
)
def test_a_few_values_are_exact(source: str, wanted: list[Any]) -> None:
    more = "param sizes: list<count> = [3, 4]\nparam span: range = 2..3"
    drawn = values(f"draw x from {source}", 660, more)
    counts = Counter(drawn)
    assert sorted(counts, key=str) == sorted(wanted, key=str)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {type(value) for value in drawn} == {type(value) for value in wanted}


def test_many_values_are_dealt_in_parts() -> None:
    drawn = values("draw x from uniform(1..1_000_000)", 128)
    assert Counter((value - 1) * 64 // 1_000_000 for value in drawn) == dict.fromkeys(range(64), 2)
    tenths = Counter(values("draw x from uniform(0.0..9.9)", 10_000))
    assert set(tenths) == {n / 10 for n in range(100)}
    assert max(tenths.values()) < 140
    days = values('draw x from dates("2024-01-01", "2024-12-31")', 732)
    assert (min(days)[:7], max(days)[:7]) == ("2024-01", "2024-12")
    assert len(set(days)) > 250


def test_a_normal_distribution() -> None:
    drawn = values("draw x from normal(100, 15, digits = 0)", 6400)
    assert abs(mean(drawn) - 100) < 0.5
    assert abs(stdev(drawn) - 15) < 0.5
    assert all(isinstance(value, int) for value in drawn)
    fine = values("draw x from normal(0, 0.001, digits = 4)", 640)
    assert all(round(value, 4) == value and abs(value) < 0.006 for value in fine)
    assert "-0.0" not in map(str, fine)


def test_a_larger_quota_keeps_the_values() -> None:
    few, many = (drawn(compile_text(recipe("draw x from normal(5, 2)", times)).plan) for times in (640, 1280))
    assert few.items() <= many.items()


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("uniform(5..)", "E202", "`5..` has no end on one side, and `uniform` is between two"),
        ("uniform(5..2)", "E202", "no number lies in `5..2`"),
        ("uniform(0..0.00000000001)", "E202", "`0..0.00000000001` has more digits than a number holds"),
        ("uniform(0..100_000_000_000_000_000)", "E202", None),
        ("uniform(5)", "E202", None),
        ("unifrom(1..5)", "E203", "nothing is drawn from `unifrom(..)`"),
        ("normal(1, 0)", "E202", "a standard deviation is above zero, and `0` is not"),
        ("normal(1, -2)", "E202", "a standard deviation is above zero, and `-2` is not"),
        ("normal(1)", "E202", None),
        (
            'dates("2024-13-01", "2024-12-31")',
            "E202",
            "`2024-13-01` is no day, which is written as year, month and day",
        ),
        ('dates("2024-02-01", "2024-01-31")', "E202", None),
        ("[]", "E303", "there is nothing to draw from"),
        ("[1, 1.0]", "E104", "a value is listed twice"),
        ('[1, "a"]', "E202", 'each value takes a count, and `"a"` is text'),
        ("[true, 1]", "E202", "each value takes a boolean, and `1` is a count"),
        ("names", "E202", None),
        ("size", "E202", "`size` is a param, not a set"),
        ("none", "E303", "there is nothing to draw from"),
        ("nobody", "E101", "`nobody` is not defined here"),
    ],
)
def test_what_nothing_is_drawn_from(source: str, code: str, message: str | None) -> None:
    more = 'param size: count = 3\nparam names: list<list<text>> = [["a"]]\nparam none: list<text> = []'
    with pytest.raises(RecipeError) as raised:
        compile_text(recipe(f"draw x from {source}", 10, more))
    diagnostics = raised.value.diagnostics
    assert [diagnostic.code for diagnostic in diagnostics] == [code]
    assert message in (None, diagnostics[0].message)
    assert diagnostics[0].hint or diagnostics[0].code == "E101" or message


def test_a_run_of_what_is_spread(tmp_path: Path) -> None:
    text = (
        "edition 1\nrecipe drawn { seed = 3 }\nmodel base: model<chat> from simulated()\n"
        "conversation c times 70 {\n  draw x from normal(37.2, 0.6)\n"
        '  draw day from dates("2024-01-01", "2024-12-31")\n  draw hour from uniform(6..22)\n'
        '  turn ask: user = "On {{ day }} at {{ hour }} I had {{ x }} degrees."\n'
        "  turn answer: model by base { sees = transcript }\n}\n"
        'export out: messages from c to "out" { columns = [c.x, c.day, c.hour] }\n'
        'export rows: messages from c to "text" { columns = [c.day] }\n'
    )
    (tmp_path / "my.recipe").write_text(text, "utf-8")
    arguments = ("my.recipe", "--log", "log.duckdb")
    compiled = synth("compile", *arguments[:1], cwd=tmp_path)
    assert "draw x: normal(37.2, 0.6, digits = 1), 64 parts, equally likely" in compiled.out
    assert "draw hour: uniform(6..22), 17 values" in compiled.out
    for command in ("run", "materialize", "replay"):
        done = synth(command, *arguments, cwd=tmp_path)
        assert done.status == 0, done.err
    for row in (written := rows(tmp_path / "out/train.jsonl")):
        line = f"On {row['day']} at {row['hour']} I had {row['x']} degrees."
        assert row["messages"][0]["content"] == line
    assert [row["day"] for row in rows(tmp_path / "text/train.jsonl")] == [row["day"] for row in written]
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert "| x | normal(37.2, 0.6, digits = 1) | 70 |" in card
    assert "| hour | uniform(6..22) | 70 |" in card
    held = synth("verify", "out", "--log", "log.duckdb", cwd=tmp_path)
    assert held.status == 0, held.err
