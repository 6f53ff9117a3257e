"""Who speaks: a user's turn that is written by a chat model, and one that goes on in a chat template."""

from __future__ import annotations

from pathlib import Path

from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query, rows, synth

TALK = """edition 1
recipe talk { seed = 2 }
model caller: model<chat> from openai("caller")
model shop: model<chat> from openai("shop")

conversation talks times 3 {
  turn rules: system = "You sell parcels."
  turn ask: user by caller { prompt = "You have lost parcel {{ nth }}. Open a chat." }
  turn reply: model by shop { sees = transcript }
  turn more: user by caller { sees = transcript, prompt = "You lost parcel {{ nth }}, and hurry." }
  turn last: model by shop { sees = transcript }
}
export sft: messages from talks to "out"
"""
MAGPIE = """edition 1
recipe magpie { seed = 2 }
model base: model<chat, template> from pocket()

conversation chats times 2 {
  turn ask: user by base { sees = template, max_tokens = 12, on_length = keep }
  turn reply: model by base { sees = transcript, max_tokens = 12, on_length = keep }
  turn more: user by base { sees = template, max_tokens = 12, on_length = keep }
  turn last: model by base { sees = transcript, max_tokens = 12, on_length = keep }
}
export sft: messages from chats to "out"
"""


def test_a_users_turn_is_asked_its_prompt_and_sees_the_turns_with_roles_exchanged(tmp_path: Path) -> None:
    (tmp_path / "talk.recipe").write_text(TALK)
    asked: list[Asked] = []

    def said(each: Asked) -> str:
        asked.append(each)
        return f"{each.model} {len(each.messages)} {each.key[:6]}"

    with OpenAIServer(answer=said) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "talk.recipe", cwd=tmp_path, env=environment)
        assert ran.status == 0, ran.err
    assert synth("materialize", "talk.recipe", cwd=tmp_path).status == 0
    (shown,) = {
        tuple((role, text.split(" ")[0]) for role, text in each.messages)
        for each in asked
        if each.model == "caller" and len(each.messages) > 1
    }
    assert shown == (("user", "You"), ("assistant", "caller"), ("user", "shop"))
    assert all(
        "hurry" in each.messages[0][1] for each in asked if len(each.messages) == 3 and each.model == "caller"
    )
    replies = [[role for role, _ in each.messages] for each in asked if each.model == "shop"]
    assert ["system", "user", "assistant", "user"] in replies
    for row in rows(tmp_path / "out/train.jsonl"):
        assert [each["role"] for each in row["messages"]] == ["system", *["user", "assistant"] * 2]
    replayed = synth("replay", "talk.recipe", cwd=tmp_path)
    assert replayed.status == 0, replayed.err


def test_a_users_turn_goes_on_in_the_chat_template(tmp_path: Path) -> None:
    (tmp_path / "magpie.recipe").write_text(MAGPIE)
    ran = synth("run", "magpie.recipe", cwd=tmp_path)
    assert ran.status == 0, ran.err
    calls = query(
        tmp_path / "synth.duckdb",
        """SELECT step, payload ->> 'token_ids', payload ->> 'messages' FROM events
           WHERE kind = 'call.completed' ORDER BY sample_id, seq""",
    )
    assert [step for step, _, _ in calls] == ["ask", "reply", "more", "last"] * 2
    tokens = {step: ids for step, ids, _ in calls}
    # What opens the model's turn is not what opens the user's.
    assert len({ids.split(",")[-2] for ids in tokens.values()}) == 2
    assert len(tokens["ask"].split(",")) < len(tokens["reply"].split(","))
    for command in ("replay", "materialize"):
        done = synth(command, "magpie.recipe", cwd=tmp_path)
        assert done.status == 0, done.err
    again = synth("run", "magpie.recipe", "--json", cwd=tmp_path)
    assert [step["issued"] for step in again.json()["steps"]] == [0, 0, 0, 0]


def test_a_chat_template_is_gone_on_in_by_the_user_of_a_model_that_shows_it(tmp_path: Path) -> None:
    for said, code in (
        (MAGPIE.replace("pocket()", 'openai("x")').replace("<chat, template>", "<chat>"), "E404"),
        (
            MAGPIE.replace(
                "turn reply: model by base { sees = transcript", "turn reply: model by base { sees = template"
            ),
            "E108",
        ),
        (MAGPIE.replace("sees = template, max", 'sees = template, prompt = "Ask.", max'), "E108"),
    ):
        (tmp_path / "magpie.recipe").write_text(said)
        checked = synth("check", "magpie.recipe", cwd=tmp_path)
        assert (checked.status, code in checked.err) == (1, True), checked.err
    mapped = MAGPIE
    (tmp_path / "magpie.recipe").write_text(mapped)
    ran = synth("run", "magpie.recipe", "--model", "base=openai:x", cwd=tmp_path, env={"OPENAI_API_KEY": "k"})
    assert ran.status == 1
    assert "shows none: map `base` to a local model" in ran.err
    # It takes neither a key nor a package to say so.
    compiled = synth("compile", "magpie.recipe", "--model", "base=openai:x", cwd=tmp_path)
    assert (compiled.status, compiled.err) == (ran.status, ran.err)
