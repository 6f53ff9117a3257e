"""Candidates in the rows of a conversation: ranked, labelled, refused, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth.compiler.plan.outputs import ColumnPlace, ColumnPlan
from synth.compiler.plan.steps import CallPlan, CheckPlan, PickPlan, StepPlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.forget.rewrite import forget
from synth.store.log.log import Log
from synth.store.rescue.salvage import salvage
from tests.store.judging.answered import ANSWERS, VALUES, all_of, hold, judged_plan, made, marks, read, told
from tests.store.log.logs import Candidate, Story, all_slots


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    plan = judged_plan()
    return all_of(told(plan), plan, tmp_path_factory.mktemp("judged"))


def card(dataset: Dataset) -> str:
    return (dataset.folder / "README.md").read_text("utf-8")


def test_ranked_rows_have_all_that_was_marked_in_the_round_the_best_first(
    datasets: dict[str, Dataset],
) -> None:
    dataset = datasets["ranks"]
    found = read(dataset)
    assert [row["responses"] for row in found] == [
        ["Good.", "Mid.", "Poor."],
        # What was marked and refused is there, what no judge saw is not.
        ["Well.", "False."],
        ["So.", "So, so.", "So so."],
        ["Fine.", "Fine!", "Fine?"],
    ]
    assert [row["marks"] for row in found] == [[8, 4, 3], [6, 2], [5, 4, 4], [5, 5, 5]]
    assert list(found[0]) == ["id", "prompt", "responses", "marks"]
    assert found[0]["prompt"] == [{"role": "user", "content": "What?"}]
    assert dataset.manifest["source"] == {
        "ranked": "answered",
        "step": "answer",
        "lineage": "answered-1",
        "quota": 4,
        "samples": 4,
        "responses": 11,
        "without_marks": 0,
    }
    text = card(dataset)
    assert "from 4 samples of `answered`: 11 answers at `answer`" in text
    assert 'name: "responses"\n    list: string' in text
    assert 'name: "marks"\n    list: float64' in text


def test_ranked_rows_are_typed_in_parquet_and_split_by_their_samples(tmp_path: Path) -> None:
    plan = judged_plan(format="parquet", split="50", thought="keep")
    thinking = [
        Candidate(0, 0, "Good.", marks(5), picked=True, thought="Aha."),
        Candidate(0, 1, "Bad.", marks(1)),
    ]
    dataset = made(told(plan, answers=[thinking, *ANSWERS[1:]]), plan, tmp_path, "ranks")
    assert sum(dataset.rows.values()) == 4
    files = str(dataset.folder / "*.parquet")
    with duckdb.connect() as connection:
        described = f"DESCRIBE SELECT responses, marks, thoughts FROM '{files}'"
        types = connection.execute(described).fetchall()
    assert [row[1] for row in types] == ["VARCHAR[]", "DOUBLE[]", "VARCHAR[]"]
    hold(dataset, tmp_path)
    assert ["Aha.", None] in [row["thoughts"] for row in dataset]


def test_ranked_rows_of_a_step_answer_what_its_model_was_shown(tmp_path: Path) -> None:
    plan = judged_plan(step="card")
    cards = [[Candidate(0, 1, '{"back": "b", "front": "a"}', marks(5), picked=True)]] * 3 + [[]]
    dataset = made(
        told(plan, "card", [*cards[:3], [Candidate(0, 0, '{"front":"","back":""}', picked=True)]]),
        plan,
        tmp_path,
        "ranks",
    )
    found = read(dataset)
    assert found[0]["prompt"] == [{"role": "user", "content": "Write card."}]
    assert found[0]["responses"] == ['{"back":"b","front":"a"}']
    # One of the samples has no marks.
    assert len(found) == 3
    assert dataset.manifest["source"]["without_marks"] == 1
    assert "Left out: 1 sample without marks." in card(dataset)


def test_ranked_rows_begin_with_the_passages_that_they_are_of(tmp_path: Path) -> None:
    plan = judged_plan(context="draft")
    story = Story(plan)
    for slot, tried in zip(all_slots(plan, "answered"), ANSWERS, strict=True):
        values = {**VALUES, "draft": [{"text": "It is so."}]}
        story.judge(plan.cohort("answered"), slot, values, {"answer": tried})
    row = read(made(story, plan, tmp_path, "ranks"))[0]
    assert [each["content"] for each in row["prompt"]] == ["[1] It is so.", "What?"]


def test_what_stood_and_was_not_picked_is_neither_right_nor_wrong(datasets: dict[str, Dataset]) -> None:
    kto, refused = (read(datasets[name]) for name in ("kto", "refused"))
    said = {(row["id"][16:], row["completion"][0]["content"], row["label"]) for row in kto}
    assert said == {
        *(("-answer", text, True) for text in ("Good.", "Well.", "So.", "Fine.")),
        *(("-answer-0-1", "Way too long.", False), ("-answer-0-2", "False.", False)),
        *(("-answer-0", "No.", False), ("-answer-0-1", "No!", False), ("-answer-0-2", "Nope.", False)),
    }
    assert len({row["id"] for row in kto}) == len(kto)
    assert [(row["id"][16:], row["check"]) for row in refused] == [
        *(("-answer-0-1", "length"), ("-answer-0-2", "marked")),
        *(("-answer-0", "marked"), ("-answer-0-1", "marked"), ("-answer-0-2", "marked")),
    ]


def test_the_card_and_the_manifest_say_how_answers_were_judged(datasets: dict[str, Dataset]) -> None:
    dataset = datasets["sft"]
    assert dataset.manifest["judged"] == {
        "answer": {
            "candidates": 3,
            "pick": "best",
            "answers": 15,
            "stood": 10,
            "rounds": {"1": 3, "2": 1},
            "rubric": "quality",
            "judges": [{"model": "judge", "identity": None}],
            "marked": 14,
            "marks": {
                "helpful": {"low": 1, "high": 5, "picked": 4.5, "all": 3.0},
                "brief": {"low": 1, "high": 3, "picked": 1.5, "all": 1.2143},
                "total": {"low": 2, "high": 8, "picked": 6.0, "all": 4.2143},
            },
        }
    }
    text = card(dataset)
    assert "| answer | 3 | the best by its marks | 15 | 10 | 1: 3, 2: 1 |" in text
    assert "| answer | helpful | 1 to 5 | 4.5 | 3 | judge |" in text


def test_the_card_says_how_many_agree_and_what_marks_a_text_has(tmp_path: Path) -> None:
    plan = judged_plan()
    (cohort,) = plan.cohorts
    voted = cohort.step("answer").model_copy(update={"pick": PickPlan(by="most_common")})
    steps = [voted if step.name == "answer" else step for step in cohort.steps]
    marking = {"rubric": voted.rubric, "marked_by": voted.marked_by}
    steps.append(StepPlan(name="m", call=CallPlan(name="marks", arguments={"text": "Hm."}), **marking))
    cohort = cohort.model_copy(update={"steps": tuple(steps)})
    exports = tuple(each for each in plan.exports if each.name == "sft")
    plan = plan.model_copy(update={"cohorts": (cohort,), "exports": exports})
    story = Story(plan)
    for slot, tried in zip(all_slots(plan, "answered"), ANSWERS, strict=True):
        values = {**VALUES, "m": {"helpful": 2.5, "brief": 1, "total": 3.5, "why": "So."}}
        agreeing = {"answer.agreement": 0.5 + slot.position / 10}
        story.judge(cohort, slot, values, {"answer": tried}, beside=agreeing)
    dataset = made(story, plan, tmp_path, "sft")
    assert dataset.manifest["judged"]["answer"]["agreement"] == 0.65
    assert list(dataset.manifest["judged"]["m"]) == ["rubric", "judges", "marked", "marks"]
    assert "| answer | 3 | the most common, 0.65 agree |" in card(dataset)
    assert "| m | total | 2 to 8 | 3.5 | 3.5 | judge |" in card(dataset)


def test_columns_find_marks_beside_the_values(tmp_path: Path) -> None:
    def place(*path: str) -> tuple[ColumnPlace]:
        return (ColumnPlace(source="answered", path=path),)

    number, text = ValueType(kind="number"), ValueType(kind="text")
    record = ValueType(kind="record", fields=(("helpful", number), ("total", number), ("why", text)))
    columns = (
        ColumnPlan(name="helpful", type=number, places=place("answer", "quality", "helpful")),
        ColumnPlan(name="quality", type=record, places=place("answer", "quality")),
        ColumnPlan(name="agreement", type=number, places=place("answer", "agreement")),
    )
    plan = judged_plan()
    exports = tuple(
        each.model_copy(update={"columns": columns}) for each in plan.exports if each.name == "sft"
    )
    plan = plan.model_copy(update={"exports": exports})
    row = read(made(told(plan), plan, tmp_path, "sft"))[0]
    assert (row["helpful"], row["agreement"]) == (5.0, None)
    assert row["quality"] == {"helpful": 5.0, "total": 8.0, "why": "For Good."}


def test_what_a_keep_refused_is_told_and_counted_by_its_check(tmp_path: Path) -> None:
    plan = judged_plan()
    (cohort,) = plan.cohorts
    check = CheckPlan(name="marked", label="close", of=("answer", "agreement"), arguments={"range": [0.5, 1]})
    cohort = cohort.model_copy(update={"keep": (check,)})
    plan = plan.model_copy(update={"cohorts": (cohort,)})
    story = Story(plan)
    for slot, tried in zip(all_slots(plan, "answered"), ANSWERS, strict=True):
        if slot.ordinal:
            story.abandon(cohort, slot, {"answer": [("No.", "length")]}, values=VALUES)
            story.judge(cohort, slot, VALUES, {"answer": tried}, lost=True)
            refused = {"attempt": 0, "call": None, "check": "close", "reason": "is 0.4"}
            ended = story.events[-1].payload
            assert isinstance(ended, dict)
            ended.setdefault("rejected", {})["keep"] = [refused]
        # What replaces it.
        story.judge(cohort, slot, VALUES, {"answer": tried}, ordinal=slot.ordinal + 2 * (slot.ordinal > 0))
    datasets = all_of(story, plan, tmp_path)
    for name in ("sft", "dpo", "kto", "ranks", "refused"):
        assert datasets[name].manifest["kept"] == {"answered": {"close": 2}}
        assert "- `answered`: its `keep` refused 2 finished samples: 2 fell to `close`" in card(
            datasets[name]
        )
        hold(datasets[name], tmp_path)


def test_what_is_forgotten_of_a_candidate_is_gone_everywhere(tmp_path: Path) -> None:
    plan = judged_plan(quota=3)
    secret = "the number 4711"
    answers: Any = [list(tried) for tried in ANSWERS]
    answers[0][2] = Candidate(0, 2, f"Poor, {secret}.", marks(2))
    story = told(plan, answers=answers)
    with Log(story.write(tmp_path / "old.duckdb")) as log:
        forget(log, tmp_path / "log.duckdb", matching=[secret])
    assert secret.encode() not in (tmp_path / "log.duckdb").read_bytes()
    first = story.name(plan.cohort("answered"), all_slots(plan, "answered")[0])
    with Log(tmp_path / "log.duckdb") as log:
        for dataset in materialize(plan, log, tmp_path):
            assert {row["id"][:16] for row in read(dataset)}.isdisjoint({first})
            assert (dataset.forgotten, dataset.missing) == (1, 0)


def test_a_reason_for_marks_is_found_where_it_is_to_be_forgotten(tmp_path: Path) -> None:
    plan = judged_plan()
    told(plan).write(tmp_path / "old.duckdb")
    with Log(tmp_path / "old.duckdb") as log:
        gone = forget(log, tmp_path / "new.duckdb", matching=["For Poor."])
    assert len(gone.samples) == 1
    assert not gone.left
    assert b"For Poor." not in (tmp_path / "new.duckdb").read_bytes()


def test_a_sample_is_made_anew_where_a_candidate_of_it_is_lost(tmp_path: Path) -> None:
    plan = judged_plan()
    path = told(plan).write(tmp_path / "old.duckdb", batch=1)
    with duckdb.connect(str(path)) as connection:
        # One that stood and was not picked.
        connection.execute(
            "UPDATE events SET payload = replace(payload, 'Mid.', 'Mad.') WHERE kind = 'call.completed'"
        )
    salvage(path, path, tmp_path / "log.duckdb")
    with Log(tmp_path / "log.duckdb") as log:
        datasets = materialize(plan, log, tmp_path, partial=True)
    assert {(each.export.name, each.missing) for each in datasets if each.export.name != "refused"} == {
        *(("sft", 1), ("ranks", 1), ("kto", 1), ("dpo", 0))
    }
