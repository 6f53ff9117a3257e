"""Preferences by marks: the best of a step's candidates beside the worst of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.base.errors import QuotaShort
from synth.compiler.plan.steps import CallPlan
from tests.store.judging.answered import (
    ANSWERS,
    VALUES,
    all_of,
    by_mark,
    hold,
    judged_plan,
    made,
    marks,
    read,
    told,
)
from tests.store.log.logs import Candidate, Story, all_slots


def sides(row: dict[str, list[dict[str, str]]]) -> tuple[str, str]:
    return row["chosen"][0]["content"], row["rejected"][0]["content"]


def test_the_best_that_stands_is_chosen_and_the_worst_marked_of_its_round_rejected(tmp_path: Path) -> None:
    plan = judged_plan(columns=("chosen_mark", "rejected_mark"))
    dataset = made(told(plan), plan, tmp_path, "dpo")
    hold(dataset, tmp_path)
    found = read(dataset)
    # Of a round that was refused whole nothing is taken, and of equals the lower candidate.
    assert list(map(sides, found)) == [("Good.", "Poor."), ("Well.", "False."), ("So.", "So, so.")]
    assert [(row["chosen_mark"], row["rejected_mark"]) for row in found] == [(8, 3), (6, 2), (5, 4)]
    assert [message["content"] for message in found[0]["prompt"]] == ["What?"]
    assert len({row["id"] for row in found}) == 3
    source = dataset.manifest["source"]
    assert (source["pairs"], source["left_out"], source["margin"], source["below_margin"]) == (3, 0, None, 1)
    card = (dataset.folder / "README.md").read_text("utf-8")
    assert "Left out: 1 pair whose marks are less far apart." in card
    assert 'name: "chosen_mark"\n    dtype: float64' in card


def test_the_best_need_not_be_what_was_picked_and_outvoted_ones_do_not_stand(tmp_path: Path) -> None:
    plan = judged_plan()
    first = [Candidate(0, 0, "A.", marks(2), picked=True), Candidate(0, 1, "B.", marks(4))]
    voted = [
        Candidate(0, 0, "B.", marks(5), check="most_common"),
        Candidate(0, 1, "A.", marks(3), picked=True),
        Candidate(0, 2, "A!", marks(1)),
    ]
    datasets = all_of(told(plan, answers=[first, voted, *ANSWERS[2:]]), plan, tmp_path)
    assert list(map(sides, read(datasets["dpo"])))[:2] == [("B.", "A."), ("A.", "A!")]
    wrong = [row["completion"][0]["content"] for row in read(datasets["kto"]) if not row["label"]]
    assert wrong[:1] == ["B."]
    assert len(wrong) == 4


def test_a_margin_leaves_out_what_is_too_near(tmp_path: Path) -> None:
    plan = judged_plan(margin=3)
    dataset = made(told(plan), plan, tmp_path, "dpo")
    assert list(map(sides, read(dataset))) == [("Good.", "Poor."), ("Well.", "False.")]
    source = dataset.manifest["source"]
    assert (source["margin"], source["below_margin"], source["left_out"]) == (3, 2, 0)
    assert "by 3 at least" in (dataset.folder / "README.md").read_text("utf-8")


def test_means_of_several_judges_are_as_far_apart_as_they_say(tmp_path: Path) -> None:
    plan = judged_plan(margin=3)
    third = [
        Candidate(0, 0, "Good.", {"helpful": 5, "brief": 2.3333}, picked=True),  # type: ignore[dict-item]
        Candidate(0, 1, "Poor.", {"helpful": 2, "brief": 2.3333}),  # type: ignore[dict-item]
    ]
    dataset = made(told(plan, answers=[third, *ANSWERS[1:]]), plan, tmp_path, "dpo")
    assert sides(read(dataset)[0]) == ("Good.", "Poor.")


def test_a_count_of_pairs_by_marks(tmp_path: Path) -> None:
    plan = judged_plan(quota=2, margin=3)
    assert len(read(made(told(plan), plan, tmp_path, "dpo"))) == 2
    more, place = judged_plan(quota=3, margin=3), tmp_path / "more"
    with pytest.raises(QuotaShort) as caught:
        made(told(more), more, place, "dpo")
    assert str(caught.value) == (
        "`pairs` asks for 3 pairs, and all samples of `answered` make 2, with 2 left out with marks "
        "less than 3 apart: lower its count, or take what is there with --partial"
    )
    short = made(told(more), more, place, "dpo", partial=True)
    assert (short.rows, short.missing) == ({"train": 2}, 1)


def test_answers_that_say_the_same_are_no_pair(tmp_path: Path) -> None:
    plan = judged_plan()
    same = [Candidate(0, 0, "Well.", marks(5), picked=True), Candidate(0, 1, " Well. ", marks(1))]
    dataset = made(told(plan, answers=[same, *ANSWERS[1:]]), plan, tmp_path, "dpo")
    assert dataset.manifest["source"]["left_out"] == 1
    assert len(dataset) == 2


def test_the_best_beside_what_was_refused_and_what_was_written(tmp_path: Path) -> None:
    plan = judged_plan(rejected=by_mark("attempts"), columns=("chosen_mark", "rejected_mark"))
    found = read(made(told(plan), plan, tmp_path / "refused", "dpo"))
    assert list(map(sides, found)) == [
        *(("Well.", "Way too long."), ("Well.", "False.")),
        *(("So.", "No."), ("So.", "No!"), ("So.", "Nope.")),
    ]
    assert [row["id"][16:] for row in found] == ["-0-1", "-0-2", "-0", "-0-1", "-0-2"]
    assert [row["rejected_mark"] for row in found] == [None, 2, 2, 3, 3]

    plan = judged_plan(
        rejected=CallPlan(name="step", arguments={"name": "padded"}), columns=("chosen_mark", "rejected_mark")
    )
    story = told(plan)
    for slot in all_slots(plan, "answered"):
        story.pair("pairs", slot, {"padded": "Well, well."})
    found = read(made(story, plan, tmp_path / "written", "dpo"))
    assert list(map(sides, found))[:2] == [("Good.", "Well, well."), ("Well.", "Well, well.")]
    assert [(row["chosen_mark"], row["rejected_mark"]) for row in found][:2] == [(8, None), (6, None)]


def test_the_turn_as_it_stands_beside_the_worst(tmp_path: Path) -> None:
    plan = judged_plan(chosen=CallPlan(name="turn", arguments={"name": "answer"}), columns=("chosen_mark",))
    found = read(made(told(plan), plan, tmp_path, "dpo"))
    assert list(map(sides, found)) == [("Good.", "Poor."), ("Well.", "False."), ("So.", "So, so.")]
    assert [row["chosen_mark"] for row in found] == [8, 6, 5]


def test_a_step_is_chosen_and_rejected_by_what_its_model_was_shown(tmp_path: Path) -> None:
    plan = judged_plan(step="card")
    cards = [
        [
            Candidate(0, 0, '{"front": "x", "back": "y"}', marks(2), thought="Hm."),
            Candidate(0, 1, '{"back": "b", "front": "a"}', marks(5), picked=True),
        ]
    ] * 4
    dataset = made(told(plan, "card", cards), plan, tmp_path, "dpo")
    found = read(dataset)
    assert len(found) == 4
    assert sides(found[0]) == ('{"back":"b","front":"a"}', '{"back":"y","front":"x"}')
    assert found[0]["prompt"] == [{"role": "user", "content": "Write card."}]


def test_a_draft_is_the_rejected_answer_of_the_turn_after_it(tmp_path: Path) -> None:
    chosen, rejected = (CallPlan(name="turn", arguments={"name": name}) for name in ("answer", "draft"))
    plan = judged_plan(chosen, rejected)
    found = read(made(told(plan), plan, tmp_path, "dpo"))
    assert [sides(row)[1] for row in found] == ["First."] * 4
    assert [message["content"] for message in found[0]["prompt"]] == ["What?"]


def test_thoughts_of_candidates_go_with_them(tmp_path: Path) -> None:
    thinking = [
        Candidate(0, 0, "Poor.", marks(1), thought="Hm."),
        Candidate(0, 1, "Good.", marks(5), picked=True, thought="Aha."),
    ]
    plan = judged_plan(thought="keep")
    row = read(made(told(plan, answers=[thinking, *ANSWERS[1:]]), plan, tmp_path, "dpo"))[0]
    assert (row["chosen"][0]["thought"], row["rejected"][0]["thought"]) == ("Aha.", "Hm.")


def test_samples_without_candidates_make_no_pair(tmp_path: Path) -> None:
    plan = judged_plan()
    story = Story(plan)
    for slot in all_slots(plan, "answered"):
        story.judge(plan.cohort("answered"), slot, {**VALUES, "answer": "That."}, {})
    dataset = made(story, plan, tmp_path, "dpo", partial=True)
    assert (len(dataset), dataset.missing, dataset.manifest["source"]["below_margin"]) == (0, 0, 0)


def test_pairs_of_a_sample_are_on_its_side_of_a_split(tmp_path: Path) -> None:
    plan = judged_plan(split="50")
    datasets = all_of(told(plan), plan, tmp_path)
    pairs, conversations = (
        {row["id"]: name for name in datasets[each].rows for row in datasets[each].read(name)}
        for each in ("dpo", "sft")
    )
    assert set(conversations.values()) == {"train", "eval"}
    assert pairs.items() <= conversations.items()
