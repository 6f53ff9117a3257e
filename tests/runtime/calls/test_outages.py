"""Services that do not answer or take for ever: what a run waits for, and how it ends.

Every wait is set below a second, so what is asserted of time is that there is an end.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import synth
from synth.base.errors import EngineDied, EngineError
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.lying import LIES, LyingServer
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import command, environment, query
from tests.runtime.calls.behaving import RECIPE, Behaving, assert_adds_up, compiled, error, failures, run
from tests.runtime.test_run import assert_counts_add_up

# Deadlines ----------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["drip", "hang"])
def test_a_call_ends_at_its_deadline_however_it_is_answered(tmp_path: Path, deed: str) -> None:
    with Behaving(lambda _, n: deed if n % 5 == 0 else None) as server:
        report = run(tmp_path, server, timeout=0.3, concurrency=8)
        assert report.outcome == "finished"
        assert failures(tmp_path) == {"timeout": server.arrived // 5}
        assert_adds_up(report, tmp_path, server)


def test_a_service_that_only_drips_is_waited_for_as_long_as_patience_lasts(tmp_path: Path) -> None:
    with Behaving(lambda *_: "drip") as server:
        with pytest.raises(EngineDied, match=r"has not answered for 0.6 s \(last: no answer within"):
            run(tmp_path, server, timeout=0.1, patience=0.6)
        assert failures(tmp_path)["timeout"] > 4


def test_waiting_for_a_slot_is_not_waiting_for_an_answer(tmp_path: Path) -> None:
    """One call at a time, each of a third of its deadline: the last waits for much longer."""
    with Behaving(lambda *_: None, latency_s=0.1) as server:
        report = run(tmp_path, server, count=8, timeout=0.4, concurrency=1)
        assert (report.outcome, server.arrived) == ("finished", 8)


# Outages ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_outage_is_waited_out_and_costs_no_sample(tmp_path: Path, status: int) -> None:
    """After 30 answers the server is down for a while; 16 slots do not hammer it meanwhile."""
    down: list[float] = []

    def deed(_: OpenAIServer, number: int) -> Raw | None:
        if number > 30 and (not down or time.monotonic() - down[0] < 1.0):
            down.append(time.monotonic())
            return error(status, "overloaded")
        return None

    with Behaving(deed) as server:
        report = run(tmp_path, server, count=80, concurrency=16, patience=30)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 0
        assert 4 <= len(down) <= 50
        assert_adds_up(report, tmp_path, server)


def test_an_address_where_nobody_listens_is_waited_for_and_told(tmp_path: Path) -> None:
    with OpenAIServer() as server:
        address = server.base_url
    recipe = tmp_path / "outages.recipe"
    recipe.write_text(RECIPE, "utf-8")
    begun = time.monotonic()
    done = subprocess.run(
        command("run", recipe, "--patience", "4"),
        cwd=tmp_path,
        env=environment({"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "k"}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert time.monotonic() - begun > 4
    *lines, sentence = done.stderr.splitlines()
    assert re.search(
        r"`author` has not answered for \d+(\.\d)? s \(nothing listens at .*\), waiting up to 4 s",
        "".join(lines),
    )
    assert "`author` (openai:large) has not answered for 4 s (last: nothing listens at 127.0.0.1:" in sentence
    assert "--patience" in sentence


def test_a_call_that_the_server_cannot_answer_costs_itself(tmp_path: Path, monkeypatch: Any) -> None:
    """One prompt in twenty kills the server's worker, also when all others are done."""
    from synth.runtime.calls import retry as tries

    monkeypatch.setattr(tries, "backoff", lambda *_: 0.01)

    def answer(asked: Asked) -> str | Raw:
        poison = "number 7." in asked.messages[-1][1]
        return error(500, "worker died") if poison else f"All of {asked.key[:12]}."

    with Behaving(lambda *_: None, answer=answer) as server:
        report = run(tmp_path, server, patience=60)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 1
        assert failures(tmp_path) == {"server": 8}
        assert_adds_up(report, tmp_path, server)


def test_a_wait_longer_than_patience_is_believed_when_it_is_asked_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.runtime.service.patience.LONGEST_PAUSE_S", 0.01)
    with Behaving(lambda *_: error(429, "out of quota", **{"Retry-After": "7200"})) as server:
        with pytest.raises(EngineError, match=r"sent .* away 3 times .*patience, which is 10 min .*120 min"):
            run(tmp_path, server)
        assert server.arrived <= 64


def test_one_long_wait_that_a_service_asks_for_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.runtime.service.patience.LONGEST_PAUSE_S", 0.01)

    def deed(server: OpenAIServer, number: int) -> Raw | None:
        return error(429, "later", **{"Retry-After": "86400"}) if number == 3 else None

    with Behaving(deed) as server:
        report = run(tmp_path, server)
    assert report.outcome == "finished"
    (message,) = query(
        tmp_path / "log.duckdb", "SELECT payload ->> 'message' FROM events WHERE kind = 'call.failed'"
    )[0]
    assert "asks to be left alone for 24 h, and is asked again after 0.01 s" in message


def test_a_name_that_nobody_has_is_not_waited_for_as_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.runtime.service.patience.NOBODY_S", 0.3)
    with OpenAIServer() as server:
        address = server.base_url
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(EngineDied, match=r"nothing listens at 127\.0\.0\.1:\d+\); check its address"):
        synth.run(
            compiled(tmp_path),
            log=tmp_path / "synth.duckdb",
            models={"author": synth.OpenAI("m", base_url=address)},
        )


def test_a_body_without_an_end_is_not_kept_in_memory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("synth.runtime.engines.wire.bodies.MOST_BYTES", 1 << 20)
    large = Raw({"choices": [], "padding": "x" * (2 << 20)})
    with Behaving(lambda _, n: large if n == 3 else None) as server:
        report = run(tmp_path, server)
        assert report.outcome == "finished"
        assert report.counts["cohorts"]["talk"]["abandoned"] == 1
        assert failures(tmp_path) == {"malformed": 1}


# Ends ---------------------------------------------------------------------------------


def test_a_bound_on_time_holds_while_a_service_hangs(tmp_path: Path) -> None:
    with Behaving(lambda *_: "hang") as server:
        report = run(tmp_path, server, concurrency=6, max_minutes=0.005, grace=0.2)
        assert report.outcome == "out_of_budget"
        assert report.reason == "--max-minutes 0.005 reached; 6 calls in flight given up after 0.2 s"
        assert report.counts["failures"] == {"given_up": 6}
        cohort = report.counts["cohorts"]["talk"]
        assert (cohort["pending"], cohort["abandoned"], cohort["open"]) == (20, 0, 0)
        assert_adds_up(report, tmp_path, server)
    # Given up, not lost.
    with Behaving(lambda *_: None) as server:
        assert run(tmp_path, server).outcome == "finished"


def test_the_deadline_comes_before_the_grace_where_it_is_shorter(tmp_path: Path) -> None:
    with Behaving(lambda *_: "hang") as server:
        begun = time.monotonic()
        report = run(tmp_path, server, max_minutes=0.002, timeout=0.4, grace=50)
        assert time.monotonic() - begun < 20
        assert report.reason == "--max-minutes 0.002 reached"
        assert set(report.counts["failures"]) == {"timeout"}


def test_a_pause_that_a_service_asks_for_ends_with_the_run(tmp_path: Path) -> None:
    with Behaving(lambda *_: error(429, "slow down", **{"Retry-After": "300"})) as server:
        begun = time.monotonic()
        report = run(tmp_path, server, max_minutes=0.01)
        assert time.monotonic() - begun < 20
        assert report.reason == "--max-minutes 0.01 reached"


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_gives_up_what_hangs_after_the_grace(tmp_path: Path, signals: int) -> None:
    recipe = tmp_path / "outages.recipe"
    recipe.write_text(RECIPE, "utf-8")
    with Behaving(lambda _, n: "hang" if n > 5 else None) as server:
        process = subprocess.Popen(
            command("run", recipe, "--grace", "0.5" if signals == 1 else "300", "--json"),
            cwd=tmp_path,
            env=environment({"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.arrived < 9:
            time.sleep(0.01)
            assert process.poll() is None
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        report = json.loads(out)
        given_up = server.arrived - 5
        assert f"SIGTERM; {given_up} calls in flight given up" in report["reason"]
        assert report["failures"] == {"given_up": given_up}
        assert_counts_add_up(report, tmp_path / "synth.duckdb")


# Embedders ----------------------------------------------------------------------------

RETRIEVING = """edition 1

recipe retrieving { seed = 7 }

model author: model<chat> from openai("large")
model vectors: model<embed> from openai("small")

source notes: chunk from folder("notes") {
  index = lancedb("index/notes", search = "vector", embedder = vectors)
}

conversation talk times 2 {
  let found = retrieve(notes, query = "what is said of lanterns", top_k = 1)
  turn question: user = "What do the notes say of lanterns?"
  turn answer: model by author { prompt = "{{ found | numbered }} {{ question }}", max_tokens = 60 }
  train_on = [answer]
}

export train: messages from talk to "out/talk"
"""


@pytest.mark.parametrize("bound", ["patience", "time", "tries"])
def test_an_embedder_that_does_not_answer_is_waited_for_no_longer_than_asked(
    tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.md").write_text("A lantern keeps copper warm.\n", "utf-8")
    recipe = tmp_path / "retrieving.recipe"
    recipe.write_text(RETRIEVING, "utf-8")
    with Behaving(lambda *_: None) as server:
        # It knows chats alone, and nobody listens where the vectors should come from.
        with OpenAIServer() as gone:
            nowhere = gone.base_url
        places = {
            "author": synth.OpenAI("large", base_url=server.base_url),
            "vectors": synth.OpenAI("small", base_url=nowhere),
        }
        plan = synth.compile(recipe)
        log = tmp_path / "log.duckdb"
        if bound == "patience":
            with pytest.raises(EngineDied, match=r"embedder openai:small has not answered .* --patience"):
                synth.run(plan, log=log, models=places, patience=0.3)
        elif bound == "tries":
            # Somebody is there, and says nothing that can be read.
            monkeypatch.setattr("synth.runtime.retrieval.vectors.backoff", lambda *_: 0.01)
            with LyingServer(LIES["page"], times=1000) as lying:
                places["vectors"] = synth.OpenAI("small", base_url=f"{lying.address}/v1")
                with pytest.raises(
                    EngineDied, match=r"not answered 8 tries in a row .*not JSON: please log in"
                ):
                    synth.run(plan, log=log, models=places)
        else:
            report = synth.run(plan, log=log, models=places, max_minutes=0.01)
            assert report.reason == "--max-minutes 0.01 reached"
            assert report.counts["cohorts"]["talk"]["pending"] == 2
        assert server.arrived == 0
