"""The binder's table: which statements exist, where they may stand and what they are made of.

The grammar knows one statement shape and no kinds.  This table gives each kind its parts, so
a misspelt keyword is a name error with a suggestion, and a new kind is a new row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from synth.compiler.plan.types import COUNT, NUMBER, RATIO, TEXT, Type

# How much a model may be asked to think.
REASONING = ("none", "minimal", "low", "medium", "high")

# What a model is shown for a turn or step.
SEES = ("prompt", "transcript", "template")
# Which of several candidates is taken.
PICKS = ("first", "best", "most_common")

LIST_OF_NAMES = Type("names")
CALL = Type("call")


class Arity(Enum):
    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of statement.  `field` is the type of its value when it is a field (`seed = 11`).

    `scale` is a range in the place of a quantity; `example` is what a hint shows; `conditional` says
    whether it may stand under a condition.
    """

    word: str
    example: str
    name: Arity = Arity.NO
    type: Arity = Arity.NO
    quantity: Arity = Arity.NO
    scale: Arity = Arity.NO
    clauses: Mapping[str, Arity] = field(default_factory=dict)
    value: Arity = Arity.NO
    body: Arity = Arity.NO
    holds: str | None = None
    field: Type | None = None
    repeats: bool = True
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """What may stand inside something; `phrase` names it in messages.

    `member` is the kind of statements whose keyword is a name of the user's (set members,
    schema fields); `rules` says whether calls such as `length(1..)` may stand here.
    """

    phrase: str
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    member: Kind | None = None
    rules: bool = False


def _field(word: str, type_: Type, example: str) -> Kind:
    return Kind(word, example, value=Arity.MUST, field=type_, repeats=False)


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
    _field("sees", Type("enum", words=SEES), "sees = transcript"),
    _field("retry", COUNT, "retry = 3"),
    _field("on_length", Type("enum", words=("refuse", "keep")), "on_length = keep"),
    _field("candidates", COUNT, "candidates = 4"),
    _field("marks", LIST_OF_NAMES, "marks = quality"),
    _field("pick", Type("enum", words=PICKS), "pick = best"),
    _field("revise", TEXT, 'revise = "Refused: {{ refused }} Why: {{ reason }} Write a better one."'),
    Kind("check", "check { length(1..400) }", body=Arity.MUST, holds="checks"),
    _field("checks", LIST_OF_NAMES, "checks = [house_style.plain]"),
    *_SAMPLING,
)

# What a turn's model may call before it speaks.
_CALLING = (
    _field("tools", LIST_OF_NAMES, "tools = [lookup_order(order = order), refund]"),
    _field("max_tool_calls", COUNT, "max_tool_calls = 4"),
)

_TOOL = Kind(
    "tool",
    "tool refund by shop.refund",
    name=Arity.MUST,
    type=Arity.MAY,
    clauses={"by": Arity.MUST},
    body=Arity.MAY,
    holds="tool",
)

_SET = {"name": Arity.MUST, "body": Arity.MUST}

_TURN = Kind(
    "turn",
    "turn answer: model by base { sees = transcript }",
    name=Arity.MUST,
    type=Arity.MUST,
    clauses={"by": Arity.MAY},
    value=Arity.MAY,
    body=Arity.MAY,
    holds="turn",
    conditional=True,
)

# What a library may declare too: names that mean the same wherever they are used.
_SHARED = (
    Kind("edition", "edition 1", quantity=Arity.MUST, repeats=False),
    Kind(
        "use",
        'use house_style from "lib/house_style.recipe"',
        name=Arity.MUST,
        clauses={"from": Arity.MUST},
    ),
    Kind("let", 'let banned = ["As an AI"]', name=Arity.MUST, value=Arity.MUST),
    Kind(
        "check",
        "check plain: text { no_emoji() }",
        name=Arity.MUST,
        type=Arity.MAY,
        body=Arity.MUST,
        holds="checks",
    ),
    Kind("schema", "schema craft { called: text }", name=Arity.MUST, body=Arity.MUST, holds="schema"),
    Kind(
        "set",
        'set worlds: topic { law { about = "courts" } }',
        name=Arity.MUST,
        type=Arity.MUST,
        body=Arity.MUST,
        holds="set",
    ),
    Kind(
        "personas",
        'personas people { calm { voice = "calm" } }',
        name=Arity.MUST,
        body=Arity.MUST,
        holds="set",
    ),
    Kind(
        "tiers",
        'tiers levels { direct { evolve = "Ask for one fact." } }',
        name=Arity.MUST,
        body=Arity.MUST,
        holds="set",
    ),
)

HOLDERS: Mapping[str, Block] = {
    "file": Block(
        "a recipe file",
        _table(
            *_SHARED,
            Kind(
                "recipe",
                "recipe name { seed = 1 }",
                name=Arity.MUST,
                body=Arity.MAY,
                holds="recipe",
                repeats=False,
            ),
            Kind("param", "param size: count = 100", name=Arity.MUST, type=Arity.MUST, value=Arity.MAY),
            Kind(
                "model",
                'model author: model<chat> from gemini("gemini-2.5-flash")',
                name=Arity.MUST,
                type=Arity.MUST,
                clauses={"from": Arity.MUST},
                body=Arity.MAY,
                holds="model",
            ),
            Kind(
                "rubric",
                'rubric quality by judge { helpful 1..5 = "Does it do what was asked?" }',
                name=Arity.MUST,
                clauses={"from": Arity.MAY, "by": Arity.MUST},
                body=Arity.MAY,
                holds="rubric",
            ),
            _TOOL,
            Kind(
                "source",
                'source natural: messages from jsonl("data/chat.jsonl")',
                name=Arity.MUST,
                type=Arity.MUST,
                clauses={"from": Arity.MUST},
                body=Arity.MAY,
                holds="source",
            ),
            Kind(
                "conversation",
                "conversation chats times 100 { }",
                name=Arity.MUST,
                quantity=Arity.MAY,
                clauses={"over": Arity.MAY, "times": Arity.MAY},
                body=Arity.MUST,
                holds="conversation",
            ),
            Kind(
                "preference",
                "preference corrections 150 from chats { }",
                name=Arity.MUST,
                quantity=Arity.MAY,
                clauses={"from": Arity.MUST},
                body=Arity.MUST,
                holds="preference",
            ),
            Kind(
                "mix",
                "mix training { own 60% from [chats], natural 40% from natural }",
                name=Arity.MUST,
                body=Arity.MUST,
                holds="mix",
            ),
            Kind(
                "export",
                'export train: messages from chats to "out/train"',
                name=Arity.MUST,
                type=Arity.MUST,
                clauses={"from": Arity.MUST, "to": Arity.MUST},
                body=Arity.MAY,
                holds="export",
            ),
            Kind(
                "evaluation",
                "evaluation quality of train { emoji(at_most = 0%) }",
                name=Arity.MUST,
                clauses={"of": Arity.MUST},
                body=Arity.MUST,
                holds="evaluation",
            ),
        ),
    ),
    "library": Block(
        "a library",
        _table(
            *_SHARED,
            Kind("library", "library house_style", name=Arity.MUST, repeats=False),
            Kind(
                "rubric",
                'rubric fair { fair 1..5 = "Is it fair to both sides?" }',
                name=Arity.MUST,
                body=Arity.MUST,
                holds="rubric",
            ),
            replace(_TOOL, type=Arity.NO, body=Arity.NO),
        ),
    ),
    "recipe": Block(
        "a recipe", _table(_field("seed", COUNT, "seed = 11"), _field("losses", RATIO, "losses = 1000%"))
    ),
    "model": Block(
        "a model",
        _table(
            *_SAMPLING,
            _field("reasoning", Type("enum", words=REASONING), "reasoning = low"),
        ),
    ),
    "rubric": Block(
        "a rubric",
        member=Kind(
            "", 'helpful 1..5 = "Does it help?"', quantity=Arity.MAY, scale=Arity.MUST, value=Arity.MUST
        ),
    ),
    "schema": Block("a schema", member=Kind("", "called: text", type=Arity.MUST)),
    "set": Block(
        "a set",
        member=Kind("", 'calm 40% { voice = "calm" }', quantity=Arity.MAY, body=Arity.MUST, holds="member"),
    ),
    "member": Block("a member", member=Kind("", 'voice = "calm"', value=Arity.MUST)),
    "source": Block(
        "a source",
        _table(
            _field("split", CALL, "split = by_heading(max_words = 220)"),
            _field("index", CALL, 'index = lancedb("index/docs", search = "hybrid")'),
            Kind("keep", "keep { turns(2..12) }", body=Arity.MUST, holds="checks", repeats=False),
            _field("bad_rows", Type("enum", words=("fail", "skip")), "bad_rows = skip"),
        ),
    ),
    "conversation": Block(
        "a conversation",
        _table(
            Kind("draw", "draw world from worlds", name=Arity.MUST, clauses={"from": Arity.MUST}),
            Kind(
                "let",
                "let evidence = retrieve(docs, query = topic.about, top_k = 3)",
                name=Arity.MUST,
                value=Arity.MUST,
                conditional=True,
            ),
            _TURN,
            Kind(
                "step",
                'step outline: text by author { prompt = "..." }',
                name=Arity.MUST,
                type=Arity.MUST,
                clauses={"by": Arity.MUST},
                body=Arity.MUST,
                holds="step",
                conditional=True,
            ),
            Kind("keep", "keep { same(shown, voted) }", body=Arity.MUST, holds="checks", repeats=False),
            _field("transcript", LIST_OF_NAMES, "transcript = dialogue"),
            _field("train_on", LIST_OF_NAMES, "train_on = [answer]"),
            _field("tags", Type("list", (TEXT,)), 'tags = ["negative"]'),
        ),
    ),
    "turn": Block(
        "a turn",
        _table(
            *_ASKING,
            *_CALLING,
            Kind("produces", "produces: json<Command>", type=Arity.MUST, repeats=False),
            _field("must_fail", LIST_OF_NAMES, "must_fail = [plain]"),
        ),
    ),
    "step": Block("a step", _table(*_ASKING)),
    "tool": Block(
        "a tool",
        _table(
            _field("system", TEXT, 'system = "You are a wiki."'),
            _field("prompt", TEXT, 'prompt = "Answer as a wiki: {{ query }}"'),
            _field("retry", COUNT, "retry = 3"),
            Kind("check", "check { length(1..400) }", body=Arity.MUST, holds="checks"),
            *_SAMPLING,
        ),
        member=Kind("", "query: text(1..200)", type=Arity.MUST),
    ),
    "checks": Block("a check", rules=True),
    "preference": Block(
        "a preference",
        _table(
            replace(_TURN, conditional=False),
            _field("chosen", LIST_OF_NAMES, "chosen = chats.answer"),
            _field("rejected", LIST_OF_NAMES, "rejected = padded"),
            _field("margin", NUMBER, "margin = 3"),
        ),
    ),
    "mix": Block(
        "a mix",
        _table(
            _field("total", COUNT, "total = 2_000"),
            _field("when_short", Type("enum", words=("fail", "shrink", "repeat")), "when_short = fail"),
            _field("order", LIST_OF_NAMES, "order = [easy, hard]"),
        ),
        member=Kind("", "natural 30% from natural", quantity=Arity.MAY, clauses={"from": Arity.MUST}),
    ),
    "export": Block(
        "an export",
        _table(
            _field("split", RATIO, "split = 95%"),
            Kind(
                "columns",
                "columns = [chats.world]",
                value=Arity.MAY,
                body=Arity.MAY,
                holds="columns",
                field=LIST_OF_NAMES,
                repeats=False,
            ),
            _field("step", LIST_OF_NAMES, "step = chats.answer"),
            _field("context", LIST_OF_NAMES, "context = chats.evidence"),
            _field("roles", Type("enum", words=("assistant", "model")), "roles = model"),
            _field("format", Type("enum", words=("jsonl", "parquet")), "format = parquet"),
            _field("thought", Type("enum", words=("strip", "keep", "wrap")), "thought = keep"),
            _field("licence", TEXT, 'licence = "cc-by-4.0"'),
            _field("languages", Type("list", (TEXT,)), 'languages = ["en", "id"]'),
        ),
    ),
    "columns": Block("columns", member=Kind("", "world = chats.world", value=Arity.MUST)),
    "evaluation": Block("an evaluation", rules=True),
}
