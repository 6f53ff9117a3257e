"""Answers that nobody judged: they are neither right nor wrong."""

from __future__ import annotations

from pathlib import Path

from synth.compiler.plan.judging.judge_steps import judging
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan
from tests.store.judging.answered import ANSWERS, all_of, by_mark, judged_plan, marks, read, told
from tests.store.log.logs import Candidate

APPROVED = CheckPlan(name="approved_by", arguments={"judge": "judge", "question": "Is it true?"})
NO_VERDICT, NO_MARKS = "`judge` gave no verdict on it", "`judge` gave no marks"


def approving(plan: Plan) -> Plan:
    """The same with a judge that says whether an answer holds."""
    (cohort,) = plan.cohorts
    judged = {"checks": (APPROVED,), "judged_by": (judging("answer", APPROVED, Sampling()),)}
    steps = tuple(each.model_copy(update=judged) if each.name == "answer" else each for each in cohort.steps)
    return plan.model_copy(update={"cohorts": (cohort.model_copy(update={"steps": steps}),)})


def test_an_answer_that_no_judge_judged_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    plan = approving(judged_plan(rejected=by_mark("attempts")))
    tried = [
        Candidate(0, 0, "Unmarked.", check="quality", reason=NO_MARKS),
        Candidate(0, 1, "Unheard.", check="approved_by", reason=NO_VERDICT),
        Candidate(0, 2, "False.", check="approved_by", reason="`judge` says: `judge` gave no marks"),
        Candidate(1, 0, "Good.", marks(5), picked=True),
    ]
    datasets = all_of(told(plan, answers=[tried, *[ANSWERS[0]] * 3]), plan, tmp_path)
    assert [row["rejected"][0]["content"] for row in read(datasets["dpo"])] == ["False."]
    assert datasets["dpo"].manifest["source"]["unjudged"] == 2
    card = (datasets["dpo"].folder / "README.md").read_text("utf-8")
    assert "Left out: 2 attempts that no judge judged." in card
    wrong = [row["completion"][0]["content"] for row in read(datasets["kto"]) if not row["label"]]
    assert wrong == ["False."]
    assert datasets["kto"].manifest["source"]["left_out"] == 2
    # It was refused, whatever it is.
    refused = [(row["completion"][0]["content"], row["check"]) for row in read(datasets["refused"])]
    assert refused == [("Unmarked.", "quality"), ("Unheard.", "approved_by"), ("False.", "approved_by")]
