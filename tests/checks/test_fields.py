"""Checks of a part of a step's value, and quotations word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.verdict import refusal
from tests.kit.support import query, synth

PASSAGE = "Fees are\n  due in March, and in August.  学费每年三月缴纳。"
SAID = "Fees are due in March, and in August, at the office by the river, before noon."


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("due in  March,", True),
        ("Fees are due", True),
        ("ees are", False),
        ("due in Mar", False),
        ("due in march", False),
        ("每年三月", True),
        ("and in August.", True),
        ("and in August!", False),
        ("  ", False),
    ],
)
def test_a_quotation_stands_word_for_word_white_space_aside(text: str, stands: bool) -> None:
    chunk = {"text": PASSAGE, "document": "d", "heading": ""}
    for passages in (PASSAGE, chunk, [{**chunk, "text": "Other."}, chunk]):
        reason = run_check("verbatim", {"passages": passages}, text)
        assert (reason is None) == stands, reason


def test_what_a_path_leads_to_is_checked_and_what_is_absent_passes() -> None:
    def refused(of: tuple[str, ...], value: object) -> str | None:
        check = CheckPlan(name="verbatim", of=of, arguments={"passages": RefPlan(path=("p",))})
        step = StepPlan(name="card", output=JsonOutput(schema_={}), checks=(check,))
        found = refusal(step, value, {"p": PASSAGE})
        return None if found is None else found.reason

    assert refused(("quotes",), {"quotes": ["due in March", "in August"]}) is None
    assert refused(("quotes",), {"quotes": ["due in March", "in May"]}) is not None
    assert refused(("facts", "quote"), {"facts": [{"quote": "in May"}]}) is not None
    assert refused(("facts", "quote"), {"facts": [{}, {"quote": None}]}) is None
    assert refused(("quotes",), {}) is None


def test_a_simulation_quotes_its_passages_and_keeps_fields_apart(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(f"""edition 1

recipe r {{ seed = 1 }}

model m: model<chat, json> from simulated()

schema Card {{ question: text(10..60), quotes: list<text(5..40)>(1..3) }}

conversation c times 30 {{
  turn passage: user = "{SAID}"
  step card: json<Card> by m {{
    prompt = "{{{{ Card | json_schema }}}}"
    check {{ verbatim(card.quotes, passage), distinct(card.question, similarity = 0.9) }}
    retry = 3
  }}
  turn answer: model = "{{{{ card.question }}}}"
}}

export train: messages from c to "out/train"
""")
    done = synth("run", "r.recipe", "--log", "l.duckdb", "--simulate", cwd=tmp_path)
    assert done.status == 0, done.err
    quotes = query(
        tmp_path / "l.duckdb",
        "SELECT unnest(CAST(payload -> 'values' -> 'card' -> 'quotes' AS VARCHAR[])) FROM events "
        "WHERE kind = 'sample.completed'",
    )
    assert len(quotes) >= 30
    assert all(quote in SAID for (quote,) in quotes)
