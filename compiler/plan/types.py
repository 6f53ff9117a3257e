"""Types of the recipe language, as values, and what fits what.

text(1..700)?   count(1..5)   number   ratio   range   duration   path   boolean
enum<a, b>   record<S>   list<T>(2..8)   json<T>   messages   preference   chunk
model<chat, json>
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

Capability = Literal["chat", "json", "tools", "template", "embed", "logprobs", "frozen"]
CAPABILITIES: tuple[str, ...] = get_args(Capability)

SCALARS = ("text", "count", "number", "ratio", "range", "duration", "path", "boolean")


@dataclass(frozen=True, slots=True)
class Type:
    """`name` with its arguments: types for list and json, words for enum and model.

    `schema` names the schema of a record; `low` and `high` bound a text's characters, a list's
    items or a number.  `beside` are the fields of what stands beside a value that candidates, judges, votes
    or tools gave (`answer.quality.helpful`, `answer.calls`); a number of `steps` is a multiple of one of so
    many parts of 1, as the mean of so many judges' marks is.  Neither makes another type of it.
    """

    name: str
    arguments: tuple[Type, ...] = ()
    words: tuple[str, ...] = ()
    schema: Schema | None = None
    low: int | float | None = None
    high: int | float | None = None
    optional: bool = False
    beside: Schema | None = field(default=None, compare=False)
    steps: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self == COUNTS:
            return "range of counts"
        text = self.schema.name if self.schema is not None else self.name
        inner = [str(argument) for argument in self.arguments] or list(self.words)
        if inner:
            text += f"<{', '.join(inner)}>"
        if self.low is not None or self.high is not None:
            text += f"({_end(self.low)}..{_end(self.high)})"
        return text + ("?" if self.optional else "")

    @property
    def required(self) -> Type:
        return replace(self, optional=False)


@dataclass(frozen=True, slots=True)
class Schema:
    """A record type: field names and types in declared order."""

    name: str
    fields: tuple[tuple[str, Type], ...]

    def field(self, name: str) -> Type | None:
        return dict(self.fields).get(name)


# What a faulty type leaves behind: reported once, it then fits everywhere.
UNKNOWN = Type("unknown")

TEXT = Type("text")
COUNT = Type("count")
NUMBER = Type("number")
RATIO = Type("ratio")
RANGE = Type("range")
# A range whose ends are counts, such as one of characters.
COUNTS = Type("range", (COUNT,))
DURATION = Type("duration")
PATH = Type("path")
BOOLEAN = Type("boolean")
MESSAGES = Type("messages")
CHUNK = Type("chunk")
CHUNKS = Type("list", (CHUNK,))
PREFERENCE = Type("preference")
ROLE = Type("enum", words=("user", "model"))
# A name taken as it is written, such as a schema's field: `every(model, has = thought)`.
WORD = Type("word")
MODEL = Type("model")

# The records that `personas`, `tiers` and the ready-made set types are made of.
BUILT_IN_SCHEMAS = {
    schema.name: schema
    for schema in (
        Schema("persona", (("voice", TEXT),)),
        Schema("tier", (("evolve", TEXT),)),
        Schema("topic", (("about", TEXT),)),
        Schema("scenario", (("brief", TEXT),)),
    )
}


# What chunks and messages are to those who take records.
CHUNK_SCHEMA = Schema("chunk", (("text", TEXT), ("document", TEXT), ("heading", TEXT)))
MESSAGE_SCHEMA = Schema("message", (("role", TEXT), ("content", TEXT)))

# A call of a tool in a turn, and what came of it.
CALL_SCHEMA = Schema(
    "call",
    (
        ("name", TEXT),
        ("arguments", Type("record")),
        ("result", Type("any", optional=True)),
        ("fault", Type("text", optional=True)),
        # Which of the turn's messages it stands in, from 0; a tool is not told of those before.
        ("message", Type("count", optional=True)),
    ),
)
CALLS = Type("list", (Type("record", schema=CALL_SCHEMA),))


def record(schema: Schema) -> Type:
    return Type("record", schema=schema)


def is_transcript(type_: Type) -> bool:
    """Whether a value can be a conversation: `messages`, or a JSON list of records with
    `role: enum<user, model>` and `content: text`."""
    if type_.name in ("messages", "unknown"):
        return True
    inner = type_.arguments[0] if type_.name == "json" else type_
    if inner.name != "list" or inner.arguments[0].schema is None:
        return False
    role, content = (inner.arguments[0].schema.field(name) for name in ("role", "content"))
    return (
        role is not None
        and content is not None
        and (role.name == "unknown" or (role.name == "enum" and set(role.words) <= {"user", "model"}))
        and content.name in ("text", "unknown")
        and not content.optional
    )


def prints(type_: Type) -> bool:
    """Whether a template can show a value of this type as it is."""
    return type_.name in ("text", "count", "number", "ratio", "path", "enum", "duration", "unknown")


def fits(value: Type, wanted: Type) -> bool:
    """Whether a value of one type may stand where another is wanted."""
    if "unknown" in (value.name, wanted.name):
        return True
    if value.optional and not wanted.optional:
        return False
    if wanted.name == "number" and value.name == "count":
        return True
    if wanted.name == "path" and value.name == "text":
        return True
    if wanted.name == "passages":
        inner = value.arguments[0] if value.name == "list" else value
        return inner.name in ("text", "chunk")
    if wanted.name == "model":
        return value.name == "model" and set(wanted.words) <= set(value.words)
    if wanted.name == "enum":
        return value.name == "enum" and set(value.words) <= set(wanted.words)
    if wanted.name == value.name == "range":
        return True
    if value.name != wanted.name or value.schema != wanted.schema:
        return False
    return all(fits(a, b) for a, b in zip(value.arguments, wanted.arguments, strict=False))


_PRODUCED = frozenset(
    {"text", "path", "count", "number", "ratio", "boolean", "enum", "list", "json", "record", "unknown"}
)


def unproducible(type_: Type) -> Type | None:
    """The part of a type that no model can be asked to write, or None."""
    return _beyond(type_, _PRODUCED)


def unreadable(type_: Type) -> Type | None:
    """The part of a type that no column of a file can hold, or None."""
    return _beyond(type_, _PRODUCED | {"messages"})


def _beyond(type_: Type, known: frozenset[str]) -> Type | None:
    if type_.name not in known:
        return type_
    inner = [*type_.arguments, *(field for _, field in (type_.schema.fields if type_.schema else ()))]
    return next((beyond for argument in inner if (beyond := _beyond(argument, known)) is not None), None)


def json_schema(type_: Type) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a type that a model can be asked to produce.

    Objects are closed and list every required field; an optional field may be left out.
    """
    body: dict[str, Any]
    match type_.name:
        case "text" | "path":
            body = {"type": "string"}
            if type_.low is not None:
                body["minLength"] = type_.low
            if type_.high is not None:
                body["maxLength"] = type_.high
        case "count":
            body = {"type": "integer", "minimum": type_.low or 0}
            if type_.high is not None:
                body["maximum"] = type_.high
        case "number" | "ratio":
            body = {"type": "number"}
            if type_.low is not None:
                body["minimum"] = type_.low
            if type_.high is not None:
                body["maximum"] = type_.high
        case "boolean":
            body = {"type": "boolean"}
        case "enum":
            body = {"type": "string", "enum": list(type_.words)}
        case "list":
            body = {"type": "array", "items": json_schema(type_.arguments[0])}
            if type_.low is not None:
                body["minItems"] = type_.low
            if type_.high is not None:
                body["maxItems"] = type_.high
        case "unknown" | "any":
            body = {}
        case "json":
            body = json_schema(type_.arguments[0])
        case "record" if type_.schema is not None:
            fields = type_.schema.fields
            body = {
                "type": "object",
                "properties": {name: json_schema(field) for name, field in fields},
                "required": [name for name, field in fields if not field.optional],
                "additionalProperties": False,
            }
        case "record":
            body = {"type": "object"}
            if type_.arguments:
                body["additionalProperties"] = json_schema(type_.arguments[0])
        case _:
            raise ValueError(f"no model can produce a {type_}")
    return body


def _end(value: float | None) -> str:
    return "" if value is None else str(value)
