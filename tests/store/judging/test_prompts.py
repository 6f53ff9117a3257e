"""The prompts of rows that judges' marks make: what the model was shown before anything was refused."""

from __future__ import annotations

import json
from pathlib import Path

from synth.compiler.plan.model import Plan
from tests.store.judging.answered import VALUES, all_of, by_mark, judged_plan, made, marks, read
from tests.store.log.logs import Candidate, Story, all_slots

REVISE = ("Another was refused.",)
PLAIN = [{"role": "user", "content": "Write draft."}]
# What was refused in a first round, and what was revised by it.
LATER = [
    Candidate(0, 0, "Bad.", marks(1), check="marked"),
    Candidate(0, 1, "Worse.", check="length"),
    Candidate(1, 0, "Good.", marks(5), picked=True),
    Candidate(1, 1, "Fair.", marks(2)),
]
# The same where no judge was asked in the first round, and where the first round has the value.
UNMARKED = [Candidate(0, 0, "Long.", check="length"), *LATER[2:]]
AT_ONCE = [Candidate(0, 0, "Good.", marks(5), picked=True), Candidate(0, 1, "Fair.", marks(2))]


def revising(plan: Plan, step: str) -> Plan:
    (cohort,) = plan.cohorts
    steps = tuple(
        each.model_copy(update={"revise": REVISE}) if each.name == step else each for each in cohort.steps
    )
    return plan.model_copy(update={"cohorts": (cohort.model_copy(update={"steps": steps}),)})


def story_of(plan: Plan, step: str) -> Story:
    story = Story(plan)
    values = {name: value for name, value in {**VALUES, "answer": "That."}.items() if name != step}
    tried = (LATER, UNMARKED, AT_ONCE, LATER)
    for slot, each in zip(all_slots(plan, "answered"), tried, strict=True):
        story.judge(plan.cohort("answered"), slot, values, {step: each})
    return story


def test_a_revised_step_is_asked_what_its_first_attempt_was_shown(tmp_path: Path) -> None:
    plan = revising(judged_plan(step="draft"), "draft")
    datasets = all_of(story_of(plan, "draft"), plan, tmp_path)
    pairs = read(datasets["dpo"])
    assert [row["rejected"][0]["content"] for row in pairs] == ["Fair."] * 4
    assert [row["prompt"] for row in pairs] == [PLAIN] * 4
    ranks = read(datasets["ranks"])
    assert [row["responses"] for row in ranks] == [["Good.", "Fair."]] * 4
    assert [row["prompt"] for row in ranks] == [PLAIN] * 4
    assert "unshown" not in datasets["dpo"].manifest["source"]


def test_a_row_whose_first_prompt_is_not_known_is_left_out_and_counted(tmp_path: Path) -> None:
    plan = revising(judged_plan(step="draft"), "draft")
    story = story_of(plan, "draft")
    for event in story.events:
        for told in event.payload.get("rejected", {}).get("draft", ())[:1]:
            if told["check"] == "length":
                told["call"] = None
    datasets = all_of(story, plan, tmp_path)
    for name in ("dpo", "ranks"):
        assert len(datasets[name]) == 3
        assert datasets[name].manifest["source"]["unshown"] == 1
        card = (datasets[name].folder / "README.md").read_text("utf-8")
        assert "Left out: 1 sample whose first prompt is not known." in card


def test_a_refused_draft_is_no_part_of_what_it_answers(tmp_path: Path) -> None:
    refused = by_mark("attempts", "draft")
    plan = revising(judged_plan(rejected=refused, step="draft"), "draft")
    pairs = read(made(story_of(plan, "draft"), plan, tmp_path, "dpo"))
    assert [row["rejected"][0]["content"] for row in pairs] == ["Bad.", "Worse.", "Long.", "Bad.", "Worse."]
    assert [row["prompt"] for row in pairs] == [PLAIN] * 5


def test_ranked_rows_of_a_users_turn_answer_what_its_model_was_shown(tmp_path: Path) -> None:
    plan = judged_plan(step="ask", chosen=by_mark("turn", "answer"), rejected=by_mark("turn", "draft"))
    (cohort,) = plan.cohorts
    written = cohort.step("ask").model_copy(update={"model": "writer"})
    steps = tuple(written if each.name == "ask" else each for each in cohort.steps)
    plan = plan.model_copy(update={"cohorts": (cohort.model_copy(update={"steps": steps}),)})
    plan = revising(plan, "ask")
    found = read(made(story_of(plan, "ask"), plan, tmp_path, "ranks"))
    assert [row["prompt"] for row in found] == [[{"role": "user", "content": "Write ask."}]] * 4


def test_what_was_shown_before_a_sample_was_lost_is_the_prompt_of_what_was_tried_again(
    tmp_path: Path,
) -> None:
    def card(front: str) -> str:
        return json.dumps({"front": front, "back": "b"})

    plan = revising(judged_plan(step="card"), "card")
    story, cohort = Story(plan), plan.cohort("answered")
    lost = [Candidate(0, 0, card("bad"), marks(1), check="marked")]
    again = [
        Candidate(1, 0, card("good"), marks(5), picked=True),
        Candidate(1, 1, card("fair"), marks(2)),
    ]
    values = {"draft": "First.", "ask": "What?", "answer": "That."}
    for number, slot in enumerate(all_slots(plan, "answered")):
        # What is tried again is shown what was refused.  Before the last other words came then.
        story.judge(cohort, slot, {"draft": "Once." if number == 3 else "First."}, {"card": lost}, lost=True)
        story.judge(cohort, slot, values, {"card": again})
    datasets = all_of(story, plan, tmp_path)
    for name in ("dpo", "ranks"):
        assert [row["prompt"][0]["content"] for row in read(datasets[name])] == ["Write card."] * 3
        assert datasets[name].manifest["source"]["unshown"] == 1
