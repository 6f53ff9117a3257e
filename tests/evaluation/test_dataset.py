"""Measures of what a dataset holds: counted answer by answer, whatever the rows are made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import synth as api
from tests.evaluation.helpers import COMMANDS, DIRECT, HEAD, evaluation, project, values
from tests.kit.support import one_sentence, synth
from tests.store.log.logs import Story, all_slots, chat

OF_TEXT = evaluation(
    "emoji(at_most = 0%)",
    'forbidden_words("As an AI", at_most = 20%)',
    "repetition(ngram = 2, share = 20%, at_most = 10%)",
    "json_errors(at_most = 0%)",
)


def test_shares_are_those_of_the_answers(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + OF_TEXT)
    plain = "The harbour opens at noon"
    said = [plain, "Sure 🙂", "as an ai, I cannot", "AS AN AI!", "so so so so so so so", *[plain] * 5]
    names = made.tell({"direct": said})
    result = made.evaluate("--json")
    assert result.status == 3
    (found,) = result.json()["evaluations"]
    assert (found["evaluation"], found["of"], found["rows"], found["held"]) == ("quality", "train", 10, False)
    measures = {each["measure"]: each for each in found["measures"]}
    assert {name: (each["value"], each["judged"], each["held"]) for name, each in measures.items()} == {
        "emoji": (10.0, 10, False),
        "forbidden_words": (20.0, 10, True),
        "repetition": (10.0, 10, True),
        # There is nothing to measure, so nothing is shown to hold.
        "json_errors": (None, 0, False),
    }
    assert measures["json_errors"]["note"] == "no answer is to be JSON"
    (example,) = measures["emoji"]["examples"]
    assert example["row"] == names[1]
    assert measures["emoji"]["arguments"] == {}
    assert measures["forbidden_words"]["arguments"] == {"words": ["As an AI"]}


def test_what_holds_ends_with_0(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 10%)", "emoji(at_least = 10%)"))
    made.tell({"direct": ["🙂", *["plain"] * 9]})
    assert made.evaluate().status == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["plain", "🙂 yes", "no 👍🏽", "1 2 3", "©", "ok"]), min_size=10, max_size=10)
)
def test_a_share_is_exact(tmp_path: Path, said: list[str]) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 30%)"))
    made.log.unlink(missing_ok=True)
    made.tell({"direct": said})
    report = api.evaluate(made.plan, log=made.log)
    hits = sum("🙂" in each or "👍" in each for each in said)
    ((measured,),) = (each.measured for each in report.evaluations)
    assert (measured.value, measured.judged, measured.held) == (100 * hits / 10, 10, hits <= 3)
    assert len(measured.examples) == min(5, hits)
    assert report.exit_status == (0 if hits <= 3 else 3)


def test_json_is_judged_by_the_schema_that_it_was_made_with(tmp_path: Path) -> None:
    of_all = """
mix training {
  a 50% from commands
  b 50% from direct
  when_short = shrink
}
export mixed: messages from training to "out/mixed"
"""
    made = project(tmp_path, COMMANDS + DIRECT + of_all + evaluation("json_errors(at_most = 0%)", of="mixed"))
    good, cut, other = '{"action":"open"}', '{"action": "op', '{"deed":"open"}'
    made.tell({"commands": [good, cut, other, *[good] * 7], "direct": ["not JSON"] * 10})
    found = made.measures("--partial")
    assert values(found, "json_errors", "dataset") == (20.0, 10)
    reasons = [each["reason"] for each in found["json_errors", "dataset"]["examples"]]
    assert sorted(reason.split(":")[0] for reason in reasons) == ["json_valid", "schema"]


def test_rows_of_sources_are_measured_and_what_the_user_says_is_not(tmp_path: Path) -> None:
    text = """
source natural: messages from jsonl("chat.jsonl")
mix training {
  made 50% from direct
  found 50% from natural
}
export mixed: messages from training to "out/mixed"
"""
    made = project(tmp_path, DIRECT + text + evaluation("emoji(at_most = 0%)", of="mixed"))
    story = Story(made.plan)
    for slot in all_slots(made.plan, "direct"):
        story.complete(made.plan.cohort("direct"), slot, {"ask": "🙂?", "answer": "plain"})
    rows = [chat("🙂?", "plain"), chat("So?", "🙂", "And?", "plain"), *[chat("Hi", "plain")] * 8]
    untrained = chat("Hi", "🙂")
    untrained[1]["weight"] = 0
    story.ingest("natural", [*rows[:-1], untrained])
    story.write(made.log)
    found = made.measures()
    # Ten of the conversation, one of each row of the source, one more of the row that has two, and
    # none of the row that is not trained on.
    assert values(found, "emoji", "dataset") == (100 / 20, 20)


def test_every_answer_of_a_transcript_is_measured(tmp_path: Path) -> None:
    text = """
schema Message {
  role: enum<user, model>
  thought: text?
  content: text(1..3_000)
}
conversation talks times 2 {
  step dialogue: json<list<Message>(2..6)> by writer { prompt = "Talk, {{ nth }}." }
  transcript = dialogue
  train_on = every(model)
}
export train: messages from talks to "out/train" { thought = wrap }
"""
    made = project(
        tmp_path,
        text
        + evaluation("emoji(at_most = 0%)", "json_errors(at_most = 0%)", 'refusals("no", at_least = 50%)'),
    )
    story = Story(made.plan)
    for slot, last in zip(all_slots(made.plan, "talks"), ("No.", "Yes."), strict=True):
        said = chat("🙂", "No.", "Why?", last)
        # A thought is none of the answer, also where rows show it.
        said[1]["thought"] = "👍"
        story.complete(made.plan.cohort("talks"), slot, {"dialogue": said})
    story.write(made.log)
    found = made.measures()
    assert values(found, "emoji", "dataset") == (0.0, 4)
    assert values(found, "json_errors", "dataset") == (None, 0)
    assert values(found, "refusals", "dataset") == (50.0, 2)


VARIED = """
personas people {
  calm { voice = "calm" }
  loud { voice = "loud" }
}
conversation direct times 12 {
  draw messages from people
  draw source from [1, 2, 3]
  turn ask: user = "Question {{ nth }} of {{ source }}, {{ messages.voice }}?"
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}
export train: messages from direct to "out/train"
"""


def test_refusals_are_counted_among_the_rows_made_so(tmp_path: Path) -> None:
    made = project(
        tmp_path,
        VARIED
        + evaluation(
            'refusals("not found", "tidak ditemukan", among = calm, at_least = 100%)',
            'refusals("not found", among = loud, at_most = 0%)',
            'refusals("not found", at_least = 50%)',
        ),
    )
    story = Story(made.plan)
    for slot in all_slots(made.plan, "direct"):
        calm = dict(slot.cell.labels)["messages"] == "calm"
        answer = "Tidak  ditemukan." if calm and slot.ordinal else "NOT FOUND" if calm else "Found."
        story.complete(made.plan.cohort("direct"), slot, {"ask": "So?", "answer": answer})
    story.write(made.log)
    result = made.evaluate("--json")
    measures = result.json()["evaluations"][0]["measures"]
    assert [(each["value"], each["judged"], each["held"]) for each in measures[:2]] == [
        (100.0, 6, True),
        (0.0, 6, True),
    ]
    assert measures[2]["judged"] == 12
    # What does not refuse is the example where refusing is asked for.
    assert all("not found" not in each["reason"].casefold() for each in measures[2]["examples"])


def test_a_dataset_that_is_short_is_measured_when_asked_to(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 4})
    sentence = one_sentence(made.evaluate(), 3)
    assert sentence == (
        "`direct` has 4 of 10 samples: run it to the end, or take what is there with --partial"
    )
    assert values(made.measures("--partial", status=0), "emoji", "dataset") == (0.0, 4)


def test_a_row_without_an_answer_is_measured_by_nothing(tmp_path: Path) -> None:
    text = """
source natural: messages from jsonl("chat.jsonl")
mix training { all 100% from natural }
export train: messages from training to "out/train"
"""
    made = project(
        tmp_path, text + evaluation("emoji(at_most = 0%)", 'refusals("no", at_most = 0%)'), head=HEAD
    )
    story, row = Story(made.plan), chat("Hi", "🙂")
    row[1]["weight"] = 0
    story.ingest("natural", [row])
    story.write(made.log)
    found = made.measures(status=3)
    assert {each["value"] for each in found.values()} == {None}
    assert found["emoji", "dataset"]["note"] == "there are no answers"


@pytest.mark.parametrize(
    "answer", ["\x00 \ud800 {{ ask }}", "\u202e" * 50, "<end_of_turn>" * 9, "a" * 1_000_000]
)
def test_hostile_answers_break_nothing(tmp_path: Path, answer: str) -> None:
    made = project(tmp_path, DIRECT + OF_TEXT)
    made.tell({"direct": [answer.encode("utf-8", "replace").decode() + " As an AI", *["plain"] * 9]})
    result = made.evaluate("-o", "measures.json")
    assert result.status == 3
    assert "Traceback" not in result.err
    assert "\u202e" not in result.out
    assert "MISSED" in result.out
    assert (tmp_path / "measures.json").read_text("utf-8").startswith("{")


def test_composed_json_is_measured(tmp_path: Path) -> None:
    composed = """
schema command { action: text }
conversation chats times 4 {
  turn ask: user = "open {{ nth }}"
  turn answer: model = "{\\"action\\": \\"open\\"}" { produces: json<command> }
  train_on = [answer]
}
export train: messages from chats to "out/train"
evaluation quality of train { json_errors(at_most = 0%) }
"""
    (tmp_path / "example.recipe").write_text(f"edition 1\nrecipe example {{ seed = 1 }}\n{composed}")
    assert synth("run", "example.recipe", cwd=tmp_path).status == 0
    shown = synth("evaluate", "example.recipe", "--json", cwd=tmp_path)
    assert shown.status == 0, shown.err
    (measured,) = shown.json()["evaluations"][0]["measures"]
    assert (measured["value"], measured["judged"]) == (0.0, 4)
