"""What counts as an answer, and what a request is made of: through the command line, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import synth
from tests.kit.servers.loopback import Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows
from tests.kit.support import synth as command

RECIPE = """edition 1

recipe answers { seed = 1 }

model author: model<chat> from openai("large") { temperature = 0.3 }

conversation talk times 2 {
  turn question: user = "Say something about number {{ nth }}."
  turn answer: model by author {
    system = "You are terse."
    prompt = "{{ question }}"
    max_tokens = 60
    FIELDS
  }
  turn more: user = "And?"
  turn last: model by author { prompt = "{{ answer }}", max_tokens = 60 }
}

export train: messages from talk to "out/talk" { thought = keep }
"""


def body(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {
        "model": "large",
        "choices": [
            {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    }


class Bench:
    """A project folder whose model is a server that answers everything with one body."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        self.folder, self.server = folder, server
        self.log = folder / "synth.duckdb"
        self.plan = self.compiled("")

    def compiled(self, fields: str) -> synth.Plan:
        (self.folder / "answers.recipe").write_text(RECIPE.replace("FIELDS", fields), "utf-8")
        return synth.compile(self.folder / "answers.recipe")

    def run(
        self, answer: Mapping[str, Any], status: int = 200, *, max_calls: int = 8, **options: Any
    ) -> synth.RunReport:
        self.server.answer = lambda asked: Raw(answer, status)
        return self.go(max_calls=max_calls, **options)

    def go(self, *, max_calls: int = 8, **options: Any) -> synth.RunReport:
        place = synth.OpenAI("large", base_url=self.server.base_url, **options)
        return synth.run(self.plan, log=self.log, models={"author": place}, max_calls=max_calls)

    def replays(self) -> bool:
        return synth.replay(self.plan, log=self.log).diverged == []

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = query(self.log, "SELECT payload FROM events WHERE kind = ? ORDER BY seq", [kind])
        return [json.loads(payload) for (payload,) in found]

    def rows(self) -> list[dict[str, Any]]:
        (dataset,) = synth.materialize(self.plan, log=self.log, out=self.folder)
        return rows(dataset.folder / "train.jsonl")

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rows()[0]["messages"]
        return found


@pytest.fixture
def bench(tmp_path: Path, openai_server: OpenAIServer) -> Bench:
    return Bench(tmp_path, openai_server)


@pytest.mark.parametrize(
    "answer",
    [
        body("<think>Hm.</think>\n\nFour."),
        body("Hm.\n</think>\n\nFour."),
        body("Four.", reasoning="Hm.", reasoning_content="Hm."),
        body([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Four."}]),
    ],
)
def test_what_is_thought_is_kept_apart_from_what_is_said(bench: Bench, answer: dict[str, Any]) -> None:
    assert bench.run(answer).outcome == "finished"
    said = {"role": "assistant", "content": "Four.", "weight": 1, "thought": "Hm."}
    assert [message for message in bench.messages() if message["role"] == "assistant"] == [said, said]
    call = bench.events("call.completed")[-1]
    assert (call["text"], call["thought"], call["messages"][-1]["content"]) == ("Four.", "Hm.", "Four.")
    assert bench.events("sample.completed")[0]["thoughts"] == {"answer": "Hm.", "last": "Hm."}
    assert bench.replays()
    shown = command("show", bench.rows()[0]["id"], cwd=bench.folder).out
    assert "thought: Hm." in shown


def test_a_tag_that_is_spoken_of_stays(bench: Bench) -> None:
    said = "Models write `<think>` first, and `</think>` when they are done."
    assert bench.run(body(said)).outcome == "finished"
    assert bench.messages()[1] == {"role": "assistant", "content": said, "weight": 1}


@pytest.mark.parametrize(
    ("answer", "check", "reason"),
    [
        (body("Half of", "length"), "complete", "was cut off at max_tokens = 60"),
        (body(None, reasoning_content="Hm."), "thinking", "nothing but thinking"),
        (body("<think>Hm, let", "length"), "thinking", "nothing but thinking, cut off at max_tokens = 60"),
    ],
)
def test_no_half_answer_and_no_thinking_becomes_a_row(
    bench: Bench, answer: dict[str, Any], check: str, reason: str
) -> None:
    assert bench.run(answer).outcome != "finished"
    assert not bench.events("sample.completed")
    rejected = bench.events("step.rejected")
    assert rejected[0]["check"] == check
    assert reason in rejected[0]["reason"]


def test_text_that_was_cut_is_kept_where_the_recipe_says_so(bench: Bench) -> None:
    cut, whole = body("Half of", "length"), body("Whole.")
    bench.plan = bench.compiled("on_length = keep")
    bench.server.answer = lambda asked: Raw(cut if asked.messages[0][0] == "system" else whole)
    assert bench.go().outcome == "finished"
    assert bench.messages()[1]["content"] == "Half of"
    assert [sample["cut"] for sample in bench.events("sample.completed")] == [["answer"], ["answer"]]
    manifest = json.loads((bench.folder / "out/talk/manifest.json").read_text("utf-8"))
    assert manifest["cut"] == {"answer": 2}
    card = (bench.folder / "out/talk/README.md").read_text("utf-8")
    assert "cut at the limit of tokens, and kept" in card
    assert "| answer | 2 |" in card


@pytest.mark.parametrize("word", ["content_filter", "tool_calls", "wandered_off", None])
def test_an_answer_that_did_not_end_is_a_failure_with_the_services_word(
    bench: Bench, word: str | None
) -> None:
    assert bench.run(body("Half of", word), max_calls=4).outcome != "finished"
    assert not bench.events("call.completed")
    failed = bench.events("call.failed")[0]
    assert not failed["retryable"]
    assert f"`{word}`" in failed["message"] or (word is None and "null" in failed["message"])


CALLED = [{"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
SAID = {"type": "text", "text": "Let me look that up."}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (body("Let me look that up.", tool_calls=CALLED), "finish", "`tool_calls`"),
        (body("Let me look that up.", function_call=CALLED[0]["function"]), "finish", "`function_call`"),
        (body([SAID, {"type": "refusal", "refusal": "No."}]), "refused", "refusal"),
        (body([SAID, {"type": "image_url", "image_url": {"url": "x"}}]), "finish", "`image_url`"),
    ],
)
def test_a_text_that_is_only_part_of_an_answer_is_no_answer(
    bench: Bench, answer: dict[str, Any], kind: str, words: str
) -> None:
    assert bench.run(answer, max_calls=4).outcome != "finished"
    assert not bench.events("call.completed")
    failed = bench.events("call.failed")[0]
    assert (failed["failure"], failed["retryable"]) == (kind, False)
    assert words in failed["message"]


def test_a_server_that_never_says_why_it_ended_can_be_used(bench: Bench) -> None:
    assert bench.run(body("Four.", None), finish_reason="optional").outcome == "finished"
    assert bench.events("call.completed")[0]["finish_reason"] == "stop"


def test_a_request_leaves_out_and_takes_what_the_options_say(bench: Bench) -> None:
    report = bench.run(
        body("Four."),
        omit=["seed", "temperature", "system"],
        reasoning="low",
        extra_body={"provider": {"sort": "price"}},
        chat_template_kwargs={"enable_thinking": False},
    )
    assert report.outcome == "finished"
    sent = bench.server.received[0].body
    assert not {"seed", "temperature"} & sent.keys()
    said = sorted(one.body["messages"][0]["content"] for one in bench.server.received)
    assert [one["role"] for one in sent["messages"]] == ["user"]
    assert said[-1] == "You are terse.\n\nSay something about number 2."
    assert (sent["reasoning_effort"], sent["provider"]) == ("low", {"sort": "price"})
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    asked = bench.events("call.completed")[0]
    assert asked["identity"]["request"] == {
        "omit": ["seed", "temperature", "system"],
        "reasoning": "low",
        "extra_body": {"provider": {"sort": "price"}},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert asked["messages"][0] == {"role": "system", "content": "You are terse."}
    assert bench.replays()


def test_without_options_a_call_is_named_as_ever(bench: Bench) -> None:
    assert bench.run(body("Four.")).outcome == "finished"
    identity = bench.events("call.completed")[0]["identity"]
    assert set(identity) == {"backend", "id", "revision", "adapter", "template"}
    assert bench.run(body("Four."), omit=["seed"]).outcome == "finished"
    assert len(bench.server.received) == 8, "other options are other calls"
    assert bench.run(body("Four.")).outcome == "finished"
    assert len(bench.server.received) == 8


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (400, {"error": {"message": "System role not supported"}}, 'omit = ["system"]'),
        (
            422,
            {
                "message": {
                    "detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no extra"}]
                }
            },
            "body.seed",
        ),
        (
            400,
            {"error": {"message": "'temperature' does not support 0.3", "param": "temperature"}},
            'omit = ["temperature"]',
        ),
        (400, {"error": {"message": "'response_format' is not supported"}}, "json_mode"),
    ],
)
def test_a_refused_part_of_a_request_is_told_with_its_remedy(
    bench: Bench, status: int, answer: dict[str, Any], words: str
) -> None:
    bench.run(answer, status, max_calls=1)
    assert words in bench.events("call.failed")[-1]["message"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            Raw(
                {
                    "error": {
                        "message": "Provider returned error",
                        "code": 400,
                        "metadata": {"provider_name": "X"},
                    }
                }
            ),
            "Provider returned error (X, 400)",
        ),
        (
            Raw("<html><head><title>400 Odd</title></head><body>the edge</body></html>", 400),
            "400 Odd the edge",
        ),
    ],
)
def test_a_providers_own_words_are_in_the_log_and_in_the_summary(bench: Bench, raw: Raw, words: str) -> None:
    bench.server.answer = lambda asked: raw
    env = {"OPENAI_BASE_URL": bench.server.base_url}
    result = command("run", "answers.recipe", "--max-calls", "1", cwd=bench.folder, env=env)
    assert words in bench.events("call.failed")[-1]["message"]
    assert words in result.out
