"""Draws whose values depend on a set's member."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.strata import member_counts, sample_id, slots
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.row_deals import RowDeals
from tests.kit.support import rows, synth

RECIPE = """edition 1
recipe dependent { seed = 7 }
model base: model<chat> from simulated()
schema Category { about: text, subs: list<text>, sizes: list<count> }
set cats: Category {
  fees 2 { about = "fees", subs = ["tuition", "rent", "visa"], sizes = [1, 2] }
  life 1 { about = "life", subs = ["food", "rent"], sizes = [2, 3, 4, 5] }
}
set moods: topic { calm { about = "calm" }, tense { about = "tense" }, odd { about = "odd" } }
"""
OVER = "conversation c over mood in moods over cat in cats times {n} {{\n  draw sub from cat.subs\n"
DRAWN = "conversation c over mood in moods times {n} {{\n  draw cat from cats\n  draw sub from cat.subs\n"
REST = (
    "  draw size from cat.sizes\n"
    '  turn ask: user = "{{ mood.about }} {{ sub }} {{ size }}"\n'
    "  turn answer: model by base { sees = transcript }\n}\n"
    'export out: messages from c to "out" { columns = [c.cat, c.sub, c.size] }\n'
)
SUBS = {"fees": {"tuition", "rent", "visa"}, "life": {"food", "rent"}}


def plan_of(head: str, number: int) -> Plan:
    return compile_text(RECIPE + head.format(n=number) + REST).plan


@pytest.mark.parametrize("head", [OVER, DRAWN], ids=["axis", "draw"])
@pytest.mark.parametrize("number", [1, 2, 7, 24, 61])
def test_counts_are_exact_for_each_member(head: str, number: int) -> None:
    plan = plan_of(head, number)
    (cohort,) = plan.cohorts
    dealt = [dict(slot.cell.labels) for slot in slots(plan, cohort)]
    for cat, subs in SUBS.items():
        counts = Counter(sample["sub"] for sample in dealt if sample["cat"] == cat)
        assert set(counts) <= subs
        # Exact: no two differ by more than one.
        assert max(counts.values()) - min(counts[sub] for sub in subs) <= 1
        for mood in ("calm", "tense", "odd"):
            here = Counter(
                sample["sub"] for sample in dealt if (sample["cat"], sample["mood"]) == (cat, mood)
            )
            assert max(here.values(), default=0) - min(here[sub] for sub in subs) <= 1
    for draw in cohort.draws:
        counted = Counter(sample[draw.name] for sample in dealt)
        assert [counted[m.label] for m in draw.members] == list(member_counts(plan, cohort, draw))


TABLE = 'schema Row { body: text }\nsource table: Row from jsonl("rows.jsonl")\n'
OF_ROWS = [
    "conversation c over row in table over mood in moods times {n} {{\n  draw cat from cats\n"
    "  draw sub from cat.subs\n",
    "conversation c over row in table over mood in moods over cat in cats times {n} {{\n"
    "  draw sub from cat.subs\n",
]


def dealt_over_rows(plan: Plan, names: list[str]) -> list[dict[str, str]]:
    (cohort,) = plan.cohorts
    labels = [(("row", name),) for name in names]
    deals = RowDeals(plan, cohort, labels.__getitem__, len(labels))
    row = Member(label="", weight=1, fields={"body": "x"})
    return [
        dict(slot.cell.labels)
        for number, label in enumerate(labels)
        for slot in deals.slots((label, (row,)), number)
    ]


@pytest.mark.parametrize("head", OF_ROWS, ids=["draw", "axis"])
def test_counts_over_rows_are_exact_for_each_member(head: str) -> None:
    plan = compile_text(RECIPE + TABLE + head.format(n=1) + REST).plan
    names = [f"{number:016x}" for number in range(40)]
    dealt = dealt_over_rows(plan, names)
    for cat, subs in SUBS.items():
        for what, members in (("sub", subs), ("size", {"1", "2"} if cat == "fees" else {"2", "3", "4", "5"})):
            counts = Counter(sample[what] for sample in dealt if sample["cat"] == cat)
            assert set(counts) == members
            assert max(counts.values()) - min(counts.values()) <= 1
    # Few of the others change with a row more.
    more = dealt_over_rows(plan, [*names, "f" * 16])[: len(dealt)]
    assert sum(one != other for one, other in zip(dealt, more, strict=True)) <= len(dealt) // 10


def test_a_larger_quota_keeps_the_samples() -> None:
    few, many = (
        {
            sample_id(plan, plan.cohorts[0], slot.cell.labels, slot.ordinal)
            for slot in slots(plan, plan.cohorts[0])
        }
        for plan in (plan_of(OVER, 12), plan_of(OVER, 24))
    )
    assert few <= many


def test_two_draws_depend_on_one() -> None:
    plan = plan_of(DRAWN, 20)
    dealt = [dict(slot.cell.labels) for slot in slots(plan, plan.cohorts[0])]
    for cat, sizes, count in (("fees", "12", 20), ("life", "2345", 5)):
        assert Counter(d["size"] for d in dealt if d["cat"] == cat) == dict.fromkeys(sizes, count)


@pytest.mark.parametrize(
    ("draw", "code", "message"),
    [
        ("cat.about", "E202", "`cat.about` is text, and values are drawn from a list"),
        ("cat.sub", "E202", "`cat.sub` is nothing, and values are drawn from a list"),
        ("cat.none", "E303", "`cat.none` of `life` is empty, so there is nothing to draw from"),
        ("cat.twice", "E104", "a value is listed twice"),
        ("dog.subs", "E101", "`dog` is not defined here"),
    ],
)
def test_what_nothing_is_drawn_from(draw: str, code: str, message: str) -> None:
    text = (
        "edition 1\nrecipe r { seed = 1 }\n"
        "schema Category { about: text, none: list<text>?, twice: list<text> }\n"
        'set cats: Category { fees { about = "a", none = ["x"], twice = ["b", "b"] }, '
        'life { about = "b", twice = [] } }\n'
        f"conversation c times 3 {{\n  draw cat from cats\n  draw x from {draw}\n"
        '  turn ask: user = "{{ cat.about }} {{ x }}"\n}\nexport o: messages from c to "o"\n'
    )
    with pytest.raises(RecipeError) as raised:
        compile_text(text)
    assert [(diagnostic.code, diagnostic.message) for diagnostic in raised.value.diagnostics] == [
        (code, message)
    ]


def test_a_run(tmp_path: Path) -> None:
    (tmp_path / "my.recipe").write_text(RECIPE + DRAWN.format(n=6) + REST, "utf-8")
    compiled = synth("compile", "my.recipe", cwd=tmp_path)
    assert "draw sub: tuition 4, rent 7, visa 4, food 3 (from cat.subs)" in compiled.out, compiled.out
    for command in ("run", "materialize", "replay"):
        done = synth(command, "my.recipe", "--log", "log.duckdb", cwd=tmp_path)
        assert done.status == 0, done.err
    written = rows(tmp_path / "out/train.jsonl")
    assert len(written) == 18
    assert all(row["sub"] in SUBS[row["cat"]] and isinstance(row["size"], int) for row in written)
