"""kill -9 at random moments: nothing committed is lost, asked again or told otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import SOAK, query, started, synth
from tests.runtime.test_run import PERSONA_ON_OPENAI, persona, served

KILLS = 40 if SOAK else 10
CONVERSATIONS = 300

Key = tuple[str, int, tuple[tuple[str, str], ...]]


def asked(body: Mapping[str, Any]) -> Key:
    return (
        body["model"],
        body["seed"],
        tuple(
            (message["role"].replace("assistant", "model"), message["content"])
            for message in body["messages"]
        ),
    )


def committed(log: Path) -> set[Key]:
    """What the log has answers to, in the server's terms."""
    if not log.exists():
        return set()
    payloads = [
        json.loads(row[0]) for row in query(log, "SELECT payload FROM events WHERE kind = 'call.completed'")
    ]
    keys = [asked({"model": p["identity"]["id"], **p}) for p in payloads]
    assert len(set(keys)) == len(keys), "an answer was logged twice"
    return set(keys)


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = persona(CONVERSATIONS)
    with OpenAIServer(latency_s=0.05) as server:
        whole = tmp_path / "whole"
        whole.mkdir()
        assert synth("run", *arguments, *PERSONA_ON_OPENAI, cwd=whole, env=served(server)).status == 0
        assert synth("materialize", *arguments, cwd=whole).status == 0
        needed = server.total

    random = Random(20)
    cut = tmp_path / "cut"
    cut.mkdir()
    log = cut / "synth.duckdb"
    in_flight = kept = 0
    with OpenAIServer(latency_s=0.05) as server:
        for _ in range(KILLS):
            already = committed(log)
            before = server.total
            with started("run", *arguments, *PERSONA_ON_OPENAI, cwd=cut, env=served(server)) as process:
                moment = before + random.randint(1, needed // 8)
                while server.total < moment and process.poll() is None:
                    time.sleep(0.002)
                time.sleep(random.random() * 0.03)
                process.kill()
            time.sleep(0.1)
            now = committed(log)
            assert already <= now, "a committed call was lost"
            life = {asked(received.body) for received in server.received[before:]}
            assert not life & already, "a committed call was made again"
            in_flight += len(life - now)
            kept += len(now - already)
        killed_total = server.total
        assert synth("run", *arguments, *PERSONA_ON_OPENAI, cwd=cut, env=served(server)).status == 0
        assert synth("materialize", *arguments, cwd=cut).status == 0
        again = server.total - needed
        assert committed(log) == {asked(received.body) for received in server.received}

    with capsys.disabled():
        print(
            f"\n  {KILLS} kills over {killed_total} of {server.total} calls ({needed} needed): "
            f"{again} made again, {in_flight} were in flight when killed, {kept} were kept"
        )
    assert kept > 0, "the kills came before anything was committed"
    assert again <= in_flight
    for name in ("train.jsonl", "eval.jsonl"):
        assert (cut / "out/persona" / name).read_bytes() == (whole / "out/persona" / name).read_bytes()
    assert synth("replay", *arguments, cwd=cut).status == 0
    assert synth("verify", "out/persona", "--log", "synth.duckdb", cwd=cut).status == 0
