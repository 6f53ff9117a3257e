"""Conversations that open with a system text or with messages that are there: in calls and in rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

RECIPE = """edition 1
recipe openings { seed = 4 }

model one: model<chat, json> from openai("one")

schema Message { role: enum<user, model>, content: text, thought: text? }
set moods: topic { calm { about = "calm" }, odd { about = "odd" } }

conversation chats times 6 {
  draw mood from moods
  step dialogue: json<list<Message>(1..6)> by one { prompt = "A chat of number {{ nth }}." }
  turn rules: system = "Be {{ mood.about }}."
  turn before: messages = dialogue
  turn reply: model by one { sees = transcript, check { length(3..) }, retry = 2 }
  turn more: user = "And?"
  turn last: model by one { sees = transcript, system = "Be brief." }
}

export sft: messages from chats to "out/sft" { thought = keep }
export parts: prompt_completion from chats to "out/parts"
export talk: sharegpt from chats to "out/talk"
export kto: unpaired from chats to "out/kto"
export refused: rejected from chats to "out/refused"
preference better from chats { chosen = chats.reply, rejected = attempts(chats.reply) }
export dpo: preference from better to "out/dpo"
"""
DIALOGUE = [
    {"role": "user", "content": "Hello?"},
    {"role": "model", "content": "Hello.", "thought": "A greeting."},
    {"role": "user", "content": "What is a tide {}?"},
    {"role": "model", "content": "Water."},
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Asked]]:
    """The project after a run and a materialization, and what was asked."""
    folder = tmp_path_factory.mktemp("openings")
    (folder / "chats.recipe").write_text(RECIPE)
    asked: list[Asked] = []
    refused: set[str] = set()

    def said(each: Asked) -> str:
        asked.append(each)
        if each.schema is not None:
            made = [dict(message) for message in DIALOGUE]
            made[2]["content"] = made[2]["content"].format(each.key[:6])
            # Of one chat in three, nothing that the user says is left.
            return json.dumps(made[1:2] if each.messages[-1][1].endswith("2.") else made)
        opening = str(each.messages)
        if len(each.messages) == 4 and opening not in refused:
            refused.add(opening)
            return "No"
        return f"Answer {each.key[:8]}"

    with OpenAIServer(answer=said) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "chats.recipe", cwd=folder, env=environment)
        assert ran.status == 0, ran.err
    written = synth("materialize", "chats.recipe", cwd=folder)
    assert written.status == 0, written.err
    return folder, asked


def test_what_a_model_is_shown(done: tuple[Path, list[Asked]]) -> None:
    _, asked = done
    first = [each.messages for each in asked if each.schema is None and len(each.messages) == 4]
    assert first
    for messages in first:
        assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]
        assert messages[0][1] in ("Be calm.", "Be odd.")
        assert messages[2][1] == "Hello.", "without what was thought"
    last = [each.messages for each in asked if len(each.messages) == 6]
    assert last
    for shown in last:
        assert [text for role, text in shown if role == "system"] == ["Be brief."]
    assert all(len(each.messages) == 1 for each in asked if each.schema is not None)


def test_a_sample_whose_messages_end_before_the_user_speaks_is_lost(done: tuple[Path, list[Asked]]) -> None:
    folder, _ = done
    log = folder / "synth.duckdb"
    reasons = query(log, "SELECT step, payload ->> 'reason' FROM events WHERE kind = 'sample.abandoned'")
    assert reasons
    assert set(reasons) == {("before", "opening: has no message of the user")}
    ended = query(log, "SELECT CAST(payload AS VARCHAR) FROM events WHERE kind = 'sample.completed'")
    for (text,) in ended:
        values = json.loads(text)["values"]
        assert [each["role"] for each in values["before"]] == ["user", "model", "user"]


def test_every_row_opens_so(done: tuple[Path, list[Asked]]) -> None:
    folder, _ = done
    found = rows(folder / "out/sft/train.jsonl")
    assert len(found) == 6
    for row in found:
        assert [each["role"] for each in row["messages"]] == [
            "system", "user", "assistant", "user", "assistant", "user", "assistant"
        ]  # fmt: skip
        assert [each["weight"] for each in row["messages"]] == [0, 0, 0, 0, 1, 0, 1]
        assert row["messages"][2]["thought"] == "A greeting."
    assert {len(row["prompt"]) for row in rows(folder / "out/parts/train.jsonl")} == {4, 6}
    for name, column, role in (
        ("parts", "prompt", "role"),
        ("talk", "conversations", "from"),
        ("kto", "prompt", "role"),
        ("dpo", "prompt", "role"),
    ):
        made = rows(folder / "out" / name / "train.jsonl")
        assert made
        assert {row[column][0][role] for row in made} == {"system"}, name
    refused = rows(folder / "out/refused/train.jsonl")
    replies = [row["prompt"] for row in refused if row["step"] == "reply"]
    assert replies
    assert {tuple(each["role"] for each in prompt) for prompt in replies} == {
        ("system", "user", "assistant", "user")
    }


def test_it_is_replayed_verified_and_looked_at(done: tuple[Path, list[Asked]]) -> None:
    folder, _ = done
    replayed = synth("replay", "chats.recipe", cwd=folder)
    assert replayed.status == 0, replayed.err
    for name in ("sft", "parts", "talk", "kto", "refused", "dpo"):
        assert synth("verify", f"out/{name}", cwd=folder).status == 0
    shown = synth("show", rows(folder / "out/sft/train.jsonl")[0]["id"], cwd=folder)
    assert "before (no model): 3 messages" in shown.out
    assert synth("compile", "chats.recipe", "--log", "synth.duckdb", "--json", cwd=folder).status == 0
    assert synth("run", "chats.recipe", "--simulate", "--log", "other.duckdb", cwd=folder).status in (0, 3)
