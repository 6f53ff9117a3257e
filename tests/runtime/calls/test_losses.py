"""What is lost, and for how long: steps that nothing passes, tolerated losses, what binds the next run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth
from tests.kit.payloads import kinds_in
from tests.kit.servers.answers import sentence
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query
from tests.runtime.calls.losing import YES, configure, recipe, run, seldom


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize("times", [1, 1000])
def test_a_step_that_nothing_passes_stops_after_40_and_what_was_in_flight(
    tmp_path: Path, openai_server: OpenAIServer, times: int, concurrency: int
) -> None:
    path = recipe(tmp_path, times, f"{YES}\n    retry = 3")
    configure(tmp_path, id="any", concurrency=concurrency)
    openai_server.answer = lambda asked: f"No, {sentence(asked.key)}\x1b[31m"
    for _ in range(2):
        # The same command goes on: it tries anew, and so much again at most.
        before = openai_server.total
        result = run(path, openai_server)
        assert result.status == 3
        assert 40 <= openai_server.total - before <= 40 + concurrency
        assert "Stopped in " in result.out
        assert ": `a` of `c` never passed: all " in result.out
        assert "opens_with_any: opens with `No," in result.out
        assert result.out.count("c.a refused: No, ") == 2
        assert "\x1b" not in result.out
        assert "then the same command tries again" in result.out
    openai_server.answer = lambda asked: f"Yes, {sentence(asked.key)}"
    assert run(path, openai_server).status == 0


def test_what_passes_seldom_fills_its_quota_and_a_run_again_counts_the_same(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """One answer in five passes."""
    path = recipe(tmp_path, 100, YES)
    openai_server.answer = seldom(5)
    first = run(path, openai_server, "--json")
    assert first.status == 0, first.out
    counts = first.json()["cohorts"]["c"]
    assert counts["completed"] == 100
    assert counts["abandoned"] > 200
    total = openai_server.total
    again = run(path, openai_server, "--json").json()["cohorts"]["c"]
    assert openai_server.total == total
    assert again == {**counts, "found": 100}


def test_what_is_in_flight_decides_whether_a_step_goes_on(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """The first answer that passes comes later than 40 refusals, out of what was in flight."""
    path = recipe(tmp_path, 60, YES)
    configure(tmp_path, id="any", concurrency=64)
    openai_server.latency_s = 0.2
    openai_server.answer = lambda asked: "Yes." if openai_server.total > 55 else "No."
    result = run(path, openai_server, "--json")
    assert result.status == 0, result.out
    assert result.json()["cohorts"]["c"]["completed"] == 60


REFUSALS = [
    ({"max_tokens_field": "max_tokens"}, "max_completion_tokens", "Unrecognized request argument supplied"),
    ({"json_mode": "prompt"}, "response_format", "'response_format' is not supported"),
]


@pytest.mark.parametrize(("repaired", "field", "message"), REFUSALS)
def test_a_loss_binds_only_runs_with_the_settings_that_led_to_it(
    tmp_path: Path, openai_server: OpenAIServer, repaired: dict[str, str], field: str, message: str
) -> None:
    path = recipe(tmp_path, 30, "produces: json<Claim>\n    retry = 2")

    def answer(asked: Asked) -> str | Raw:
        if field in asked.body:
            return openai_server.error(400, message)
        return json.dumps({"claim": sentence(asked.key)})

    openai_server.answer = answer
    configure(tmp_path, id="any")
    first = run(path, openai_server)
    assert first.status == 3
    assert f"bad_request: {message}" in first.out
    assert "the options of `author` in synth.toml" in first.out
    assert openai_server.total <= 40 + 64
    configure(tmp_path, id="any", **repaired)
    second = run(path, openai_server)
    assert second.status == 0, second.out


def test_an_answer_in_a_fence_stops_a_large_quota_early_and_is_shown(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    path = recipe(tmp_path, 1000, "produces: json<Claim>\n    retry = 2")
    openai_server.answer = lambda asked: (
        f"Here it is:\n```json\n{json.dumps({'claim': sentence(asked.key)})}\n```\nHope this helps!"
    )
    result = run(path, openai_server)
    assert result.status == 3
    assert openai_server.total <= 40 + 64
    assert "c.a refused: Here it is: ```json" in result.out
    assert "ask for JSON alone" in result.out


@pytest.mark.parametrize("times", [3, 1000])
def test_a_model_that_says_nothing_is_stopped_and_told_of(
    tmp_path: Path, openai_server: OpenAIServer, times: int
) -> None:
    path = recipe(tmp_path, times, YES)
    openai_server.answer = lambda asked: ""
    result = run(path, openai_server)
    assert result.status == 3, result.err
    assert openai_server.total <= 40 + 64
    assert "`author` says nothing" in result.out


@pytest.mark.parametrize("judged", [False, True])
def test_what_comes_before_a_step_that_nothing_passes_is_not_asked_for_any_more(
    tmp_path: Path, openai_server: OpenAIServer, judged: bool
) -> None:
    path = recipe(tmp_path, 2000, 'check { approved_by(author, "Is it so?") }' if judged else YES)
    text = path.read_text("utf-8").replace(
        'turn q: user = "Question {{ nth }}"',
        "\n".join(f'step s{n}: text by author {{ prompt = "Think {{{{ nth }}}} {n}" }}' for n in range(4))
        + '\n  turn q: user = "{{ s0 }} {{ s1 }} {{ s2 }} {{ s3 }}"',
    )
    path.write_text(text, "utf-8")
    configure(tmp_path, id="any", concurrency=64)
    asked = seldom(10**9)
    of_last: list[bool] = []

    def answer(call: Asked) -> str:
        shown = str(call.messages)
        of_last.append("Think" not in shown)
        if judged and "Is it so?" in shown:
            return json.dumps({"why": "No.", "holds": False})
        return str(asked(call))

    openai_server.answer = answer
    result = run(path, openai_server)
    assert result.status == 3, result.err
    # Beyond the last attempt at what never passes, only what was in flight then comes in.
    after = of_last[::-1].index(True)
    assert after <= 64, result.out


@pytest.mark.parametrize(
    ("choice", "said", "remedy"),
    [
        ({"finish_reason": "error"}, "the service ended the answer with `error`", "change what is sent"),
        ({"finish_reason": "length"}, "was cut off at max_tokens = 200", "on_length = keep"),
        ({"message": {"content": "", "reasoning_content": "Hm."}}, "nothing but thinking", "think less"),
        (None, "no choice with a message of text", "change what is sent"),
    ],
    ids=["ended by an error", "cut", "only thinking", "no choices"],
)
def test_a_service_that_answers_uselessly_is_not_waited_for_as_if_it_were_down(
    tmp_path: Path, openai_server: OpenAIServer, choice: Any, said: str, remedy: str
) -> None:
    path = recipe(tmp_path, 200, "")
    answer = {
        "message": {"role": "assistant", "content": "Half of"},
        "finish_reason": "stop",
        **(choice or {}),
    }
    openai_server.answer = lambda asked: Raw({"choices": [] if choice is None else [answer]})
    result = run(path, openai_server)
    assert result.status == 3, result.err
    assert openai_server.total <= 40 + 64
    assert said in result.out
    assert remedy.casefold() in result.out.casefold()


@pytest.mark.parametrize("half", [False, True], ids=["of all", "of one step"])
def test_a_service_whose_answers_are_none_is_left_alone_soon(
    tmp_path: Path, openai_server: OpenAIServer, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve conversations, and of a step while another's answers are sound."""
    monkeypatch.setattr("synth.runtime.calls.retry.backoff", lambda *_: 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    spoiled: list[str] = []

    def answer(asked: Asked) -> str | Raw:
        prompt = asked.messages[-1][1]
        if half and not prompt.startswith("Answer"):
            return sentence(asked.key)
        spoiled.append(prompt)
        return Raw("<html>please log in</html>")

    openai_server.answer = answer
    path = recipe(tmp_path, 100, "")
    text = path.read_text()
    block = "conversation c" + text.partition("conversation c")[2].partition("export")[0]
    question = 'turn q: user by author { prompt = "Ask {{ nth }}" }'
    path.write_text(
        text.replace('turn q: user = "Question {{ nth }}"', question)
        if half
        else text + "".join(block.replace(" c ", f" c{n} ") for n in range(11))
    )
    with pytest.warns(synth.RecipeWarning):
        plan = synth.compile(path)
    place = synth.OpenAI("any", base_url=openai_server.base_url)
    try:
        said = synth.run(plan, log=tmp_path / "log.duckdb", models={"author": place}, patience=600).reason
    except synth.EngineError as error:
        said = str(error)
    assert len(spoiled) <= 60 + 2 * 64
    told = "`a` of `c` never passed" if half else "has answered nothing that can be read 60 times in a row"
    assert told in said


def test_the_tolerance_is_the_recipes_and_the_message_names_it(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """One answer in thirty passes: a stricter tolerance stops it for good, a wider one goes on."""
    openai_server.answer = lambda asked: (
        "Yes." if asked.messages[0][1] == "Answer Question 3" else f"No, {sentence(asked.key)}"
    )
    path = recipe(tmp_path, 10, YES, losses="100%")
    short = run(path, openai_server, "--json")
    assert short.status == 3
    report = short.json()
    assert report["outcome"] == "short"
    assert "`losses = 100%` of the recipe block" in report["reason"]
    assert "--retry-lost" in report["reason"]
    counts, total = report["cohorts"]["c"], openai_server.total
    assert counts["completed"] == 1
    again = run(path, openai_server, "--json").json()["cohorts"]["c"]
    assert openai_server.total == total
    assert again == {**counts, "found": 1}
    openai_server.answer = seldom(5)
    wider = recipe(tmp_path, 10, YES, losses="2000%")
    assert run(wider, openai_server).status == 0


def test_what_was_lost_for_good_is_tried_again_where_that_is_asked_for(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.answer = lambda asked: (
        "Yes." if asked.messages[0][1] == "Answer Question 3" else f"No, {sentence(asked.key)}"
    )
    path = recipe(tmp_path, 10, YES, losses="100%")
    assert run(path, openai_server).status == 3
    openai_server.answer = lambda asked: "Yes."
    assert run(path, openai_server).status == 3
    assert run(path, openai_server, "--retry-lost").status == 0
    total = openai_server.total
    assert run(path, openai_server).status == 0
    assert openai_server.total == total
    assert run(path, openai_server, command="materialize").status == 0
    assert run(path, openai_server, command="replay").status == 0


def test_other_conversations_and_steps_go_on(tmp_path: Path, openai_server: OpenAIServer) -> None:
    path = recipe(tmp_path, 200, YES)
    path.write_text(
        path.read_text()
        + """
conversation other times 30 {
  turn q: user = "Other {{ nth }}"
  turn a: model by author { prompt = "Answer {{ q }}" }
}
"""
    )
    openai_server.answer = lambda asked: "No."
    result = run(path, openai_server, "--json")
    assert result.status == 3
    report = result.json()
    assert report["outcome"] == "stuck"
    (stuck,) = report["stuck"]
    assert (stuck["cohort"], stuck["step"]) == ("c", "a")
    assert report["cohorts"]["other"]["completed"] == 30
    assert report["cohorts"]["c"] == {
        **report["cohorts"]["c"],
        "completed": 0,
        "pending": 200,
    }
    ((told,),) = query(
        tmp_path / "synth.duckdb",
        "SELECT CAST(payload -> 'stuck' AS VARCHAR) FROM events WHERE kind = 'run.stopped'",
    )
    assert json.loads(told) == report["stuck"]
    assert {"run.stopped", "sample.abandoned"} <= kinds_in(tmp_path / "synth.duckdb")


def test_a_limit_bounds_what_is_lost(tmp_path: Path, openai_server: OpenAIServer) -> None:
    """The first answer passes, so the step is no hopeless one: the limit stops it all the same."""
    path = recipe(tmp_path, 2000, f"{YES}\n    retry = 3", losses="100_000%")
    openai_server.answer = lambda asked: (
        f"{'Yes' if openai_server.total == 1 else 'No'}, {sentence(asked.key)}"
    )
    foreseen = run(path, openai_server, "--limit", "5", "--json", command="compile").json()
    assert foreseen["calls"] == 5
    result = run(path, openai_server, "--limit", "5", "--json")
    assert result.status == 3
    assert openai_server.total == 10 * 5 + 100
    assert result.json()["outcome"] == "out_of_budget"
    assert result.json()["reason"].startswith("--limit 5 allows 150 calls, ten times the 5 that so many")
    said = run(path, openai_server, "--limit", "5", command="compile").out
    assert "5 calls to make with --limit 5" in said
