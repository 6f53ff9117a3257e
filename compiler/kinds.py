"""The binder's table: which statements exist, where they may stand and what they are made of.

The grammar knows one statement shape and no kinds.  This table gives each kind its parts, so
a misspelt keyword is a name error with a suggestion, and a new kind is a new row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from compiler.types import COUNT, NUMBER, RATIO, TEXT, Type

LIST_OF_NAMES = Type("names")
ANY = Type("any")


class Need(Enum):
    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of statement.  `field` is the type of its value when it is a field (`seed = 11`).

    `example` is what a hint shows.
    """

    word: str
    example: str
    name: Need = Need.NO
    type: Need = Need.NO
    quantity: Need = Need.NO
    clauses: Mapping[str, Need] = field(default_factory=dict)
    value: Need = Need.NO
    body: Need = Need.NO
    holds: str | None = None
    field: Type | None = None
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class Holder:
    """What may stand inside something; `phrase` names it in messages.

    `member` is the kind of statements whose keyword is a name of the user's (set members,
    schema fields); `rules` says whether calls such as `length(1..)` may stand here.
    """

    phrase: str
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    member: Kind | None = None
    rules: bool = False


def _field(word: str, type_: Type, example: str) -> Kind:
    return Kind(word, example, value=Need.MUST, field=type_, repeats=False)


def _table(*kinds: Kind) -> dict[str, Kind]:
    return {kind.word: kind for kind in kinds}


_SAMPLING = (
    _field("temperature", NUMBER, "temperature = 0.7"),
    _field("top_p", NUMBER, "top_p = 0.95"),
    _field("top_k", COUNT, "top_k = 64"),
    _field("max_tokens", COUNT, "max_tokens = 300"),
    _field("stop", Type("list", (TEXT,)), 'stop = ["\\n\\n"]'),
)

_ASKING = (
    _field("system", TEXT, 'system = "You are terse."'),
    _field("prompt", TEXT, 'prompt = "Write one question."'),
    _field("sees", Type("enum", words=("prompt", "transcript")), "sees = transcript"),
    _field("retry", COUNT, "retry = 3"),
    Kind("check", "check { length(1..400) }", body=Need.MUST, holds="checks"),
    *_SAMPLING,
)

_SET = {"name": Need.MUST, "body": Need.MUST}

HOLDERS: Mapping[str, Holder] = {
    "file": Holder(
        "a recipe file",
        _table(
            Kind("edition", "edition 1", quantity=Need.MUST, repeats=False),
            Kind(
                "recipe",
                "recipe name { seed = 1 }",
                name=Need.MUST,
                body=Need.MAY,
                holds="recipe",
                repeats=False,
            ),
            Kind("param", "param size: count = 100", name=Need.MUST, type=Need.MUST, value=Need.MAY),
            Kind(
                "model",
                'model author: model<chat> from gemini("gemini-2.5-flash")',
                name=Need.MUST,
                type=Need.MUST,
                clauses={"from": Need.MUST},
                body=Need.MAY,
                holds="model",
            ),
            Kind("schema", "schema craft { called: text }", name=Need.MUST, body=Need.MUST, holds="schema"),
            Kind(
                "set",
                'set worlds: topic { law { about = "courts" } }',
                type=Need.MUST,
                holds="set",
                name=Need.MUST,
                body=Need.MUST,
            ),
            Kind(
                "personas",
                'personas people { calm { voice = "calm" } }',
                holds="set",
                name=Need.MUST,
                body=Need.MUST,
            ),
            Kind(
                "tiers",
                'tiers levels { direct { evolve = "Ask for one fact." } }',
                holds="set",
                name=Need.MUST,
                body=Need.MUST,
            ),
            Kind(
                "conversation",
                "conversation chats times 100 { }",
                name=Need.MUST,
                quantity=Need.MAY,
                clauses={"over": Need.MAY, "times": Need.MUST},
                body=Need.MUST,
                holds="conversation",
            ),
            Kind(
                "export",
                'export train: messages from chats to "out/train"',
                name=Need.MUST,
                type=Need.MUST,
                clauses={"from": Need.MUST, "to": Need.MUST},
                body=Need.MAY,
                holds="export",
            ),
        ),
    ),
    "recipe": Holder("a recipe", _table(_field("seed", COUNT, "seed = 11"))),
    "model": Holder("a model", _table(*_SAMPLING)),
    "schema": Holder("a schema", member=Kind("", "called: text", type=Need.MUST)),
    "set": Holder(
        "a set",
        member=Kind("", 'calm 40% { voice = "calm" }', quantity=Need.MAY, body=Need.MUST, holds="member"),
    ),
    "member": Holder("a member", member=Kind("", 'voice = "calm"', value=Need.MUST)),
    "conversation": Holder(
        "a conversation",
        _table(
            Kind("draw", "draw world from worlds", name=Need.MUST, clauses={"from": Need.MUST}),
            Kind(
                "turn",
                "turn answer: model by base { sees = transcript }",
                name=Need.MUST,
                type=Need.MUST,
                clauses={"by": Need.MAY},
                value=Need.MAY,
                body=Need.MAY,
                holds="turn",
            ),
            Kind(
                "step",
                'step outline: text by author { prompt = "..." }',
                name=Need.MUST,
                type=Need.MUST,
                clauses={"by": Need.MUST},
                body=Need.MUST,
                holds="step",
            ),
            _field("train_on", LIST_OF_NAMES, "train_on = [answer]"),
            _field("tags", Type("list", (TEXT,)), 'tags = ["negative"]'),
        ),
    ),
    "turn": Holder(
        "a turn", _table(*_ASKING, Kind("produces", "produces: json<Command>", type=Need.MUST, repeats=False))
    ),
    "step": Holder("a step", _table(*_ASKING)),
    "checks": Holder("a check", rules=True),
    "export": Holder(
        "an export",
        _table(
            _field("split", RATIO, "split = 95%"),
            _field("columns", LIST_OF_NAMES, "columns = [chats.world]"),
            _field("roles", Type("enum", words=("assistant", "model")), "roles = model"),
            _field("format", Type("enum", words=("jsonl", "parquet")), "format = parquet"),
        ),
    ),
}
