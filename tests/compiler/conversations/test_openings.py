"""What a conversation opens with: a system text, messages that are there already, or both."""

from __future__ import annotations

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.stdlib.folds import opening
from synth.compiler.stdlib.verdict import Refusal

HEAD = """edition 1
recipe openings { seed = 1 }
model base: model<chat, json> from simulated()
model old: model<chat> from vllm("google/gemma-2-2b-it", revision = "main")
set moods: topic {
  calm { about = "calm" }
  odd { about = "odd" }
}
schema Message { role: enum<user, model>, content: text }
"""
ROLES = """conversation chats times 6 {
  draw mood from moods
  draw long from [true, false]
  step dialogue: json<list<Message>(2..6)> by base { prompt = "x" }
"""


def compiled(body: str) -> Plan:
    return compile_text(f"{HEAD}{ROLES}{body}\n}}\n").plan


def errors(body: str) -> list[Diagnostic]:
    try:
        compiled(body)
    except RecipeError as error:
        return [diagnostic for diagnostic in error.diagnostics if diagnostic.severity is Severity.ERROR]
    return []


ASK = 'turn ask: user = "What?"\n'
REPLY = "turn reply: model by base { sees = transcript }\n"
RULES = 'turn rules: system = "Be {{ mood.about }}."\n'
BEFORE = "turn before: messages = dialogue\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (RULES + ASK + REPLY, None),
        (RULES + BEFORE + REPLY, None),
        (BEFORE + ASK + REPLY, None),
        (BEFORE + REPLY + 'turn more: user = "More."', None),
        (
            'turn r1: system = "a" when long\nturn r2: system = "b" unless long\n' + ASK + REPLY,
            None,
        ),
        (ASK + RULES + REPLY, "`rules` is the system's turn, and `ask` stands above it"),
        (RULES + 'turn other: system = "x"\n' + ASK, "`other` is the system's turn, and `rules` is so too"),
        (
            RULES.replace('."', '." when long') + 'turn other: system = "x"\n' + ASK,
            "`other` is the system's turn, and `rules` is so too",
        ),
        (ASK + BEFORE + REPLY, "`before` is what was said before, and `ask` stands above it"),
        (RULES + REPLY, "`reply` is said before the user said anything"),
        (RULES, "`chats` has no turn"),
        (
            BEFORE + ASK.replace('"\n', '" when long\n') + REPLY,
            "`ask` goes on after `before` in some samples and `reply` in others, so "
            "where the messages end is not decided",
        ),
        ("turn before: messages = mood.about\n" + REPLY, "`mood.about` is text, not messages"),
        ('turn before: messages = "x"\n' + REPLY, "`before` names the messages that it is"),
        ("turn before: messages = dialog\n" + REPLY, "`dialog` is not defined here"),
        ("turn before: messages by base\n" + REPLY, "`before` is messages that are there already"),
        (
            "turn before: messages = dialogue { retry = 1 }\n" + REPLY,
            "`before` is messages that are there already",
        ),
        (
            RULES + ASK + REPLY + "train_on = [rules]",
            "`rules` is a system turn; only model turns",
        ),
        (BEFORE + REPLY + "train_on = [before]", "`before` is what was said before; only model turns"),
        ('turn rules: sytem = "x"\n' + ASK, "a turn is said by `user`, `model` or `system`, not by `sytem`"),
        (
            RULES + ASK + REPLY.replace("base", "old"),
            "`reply` sees a system text, and `old` has no",
        ),
    ],
)
def test_what_opens_a_conversation_stands_first(body: str, message: str | None) -> None:
    messages = [error.message for error in errors(body)]
    if message is None:
        assert not messages
    else:
        assert len(messages) == 1, messages
        assert message in messages[0]


def test_a_pair_opens_no_conversation() -> None:
    pairs = f'{ASK}{REPLY}}}\npreference pairs from chats {{\nturn rules: system = "x"\n'
    pairs += "chosen = chats.reply\nrejected = attempts(chats.reply)\n"
    assert "`rules` opens a conversation" in errors(pairs)[0].message


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (BEFORE + REPLY, {"until": "user"}),
        (BEFORE + ASK + REPLY, {"until": "model"}),
        (RULES + BEFORE + REPLY, {"until": "user", "system": True}),
        (BEFORE, {}),
    ],
)
def test_messages_are_cut_where_the_next_turn_goes_on(body: str, arguments: dict[str, object]) -> None:
    step = compiled(body).cohorts[0].step("before")
    assert (step.role, step.needs) == ("messages", ("dialogue",))
    assert step.call is not None
    assert step.call.arguments == {"messages": RefPlan(path=("dialogue",)), **arguments}


@pytest.mark.parametrize(
    ("roles", "until", "system", "left"),
    [
        ("sumum", "user", False, "sumu"),
        ("sumum", "model", False, "sumum"),
        ("sumum", None, False, "sumum"),
        ("sumum", "user", True, "umu"),
        ("umu", "model", False, "um"),
        ("um", None, True, "um"),
        ("m", "user", False, ""),
        ("", None, False, ""),
        ("s", None, True, ""),
    ],
)
def test_where_messages_are_cut(roles: str, until: str | None, system: bool, left: str) -> None:
    names = {"s": "system", "u": "user", "m": "model"}
    messages = [
        {"role": names[role], "content": str(at), "thought": "hm", "weight": 1}
        for at, role in enumerate(roles)
    ]
    given = {"messages": RefPlan(path=("chat",)), **({"until": until} if until else {}), "system": system}
    opened = opening(CallPlan(name="opening", arguments=given), {"chat": messages})
    if not left:
        assert isinstance(opened, Refusal)
        assert opened.reason == (f"has no message of the {until}" if until else "has no message")
        return
    assert "".join(message["role"][0] for message in opened) == left
    assert all(message.keys() == {"role", "content", "thought"} for message in opened)
