"""The shapes that conversations come in, told by a row's columns, and their one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from synth.base.errors import ConfigError
from synth.base.suggest import suggest
from synth.compiler.plan.model import SourcePlan
from synth.runtime.sources.faults import WITHOUT, Unusable, fit, names
from synth.runtime.sources.marks import MARKS, NOTHING, THOUGHTS, is_good, joined, kind_of, row_weight
from synth.runtime.sources.messages import listed_in, message_list, said_and_thought
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.record import Cell
from synth.runtime.sources.tools import DEFINITIONS, definitions_in
from synth.store.log.source_payloads import Message

Row = Mapping[str, Any]


class Conversation(NamedTuple):
    """What a row holds: messages in their normal form, and definitions of the tools that can be called."""

    messages: list[Message]
    tools: list[Mapping[str, Any]]

    @property
    def content(self) -> Any:
        """What names the row."""
        return {"messages": self.messages, "tools": self.tools} if self.tools else self.messages


@dataclass(frozen=True, slots=True)
class Shape:
    """`columns` are those that a row has to have; `optional` ones are read where they are, and
    those of `thoughts` as what the model thought before it answered."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row, Shape, Notes], list[Message]]
    optional: tuple[str, ...] = ()
    thoughts: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return names(self.columns)


def _listed(row: Row, shape: Shape, notes: Notes) -> list[Message]:
    (column,) = shape.columns
    return message_list(row[column], column, notes)


def _paired(row: Row, shape: Shape, notes: Notes) -> list[Message]:
    prompt, response = shape.columns
    before = _side(row[prompt], "user", prompt, notes)
    for message in before:
        if message["role"] == "model":
            # What stands in a prompt is not what is to be learned.
            message.setdefault("weight", 0)
    return [*before, *_side(row[response], "model", response, notes)]


def _instructed(row: Row, shape: Shape, notes: Notes) -> list[Message]:
    instruction, output = (_text(row[column], column) for column in shape.columns)
    asked = [part for part in (instruction, _text(row.get("input") or "", "input")) if part.strip()]
    if not asked:
        raise Unusable("has an empty `instruction`")
    return [
        {"role": "user", "content": "\n\n".join(asked)},
        *_side(output, "model", shape.columns[1], notes),
    ]


def _side(value: Any, role: str, column: str, notes: Notes) -> list[Message]:
    """The prompt or the response of a row: a text, or a list of messages."""
    if isinstance(value, Cell):
        messages = listed_in(value, column, of_model=role == "model")
        if messages is not None:
            notes.since(3)
            value = messages
    if isinstance(value, list):
        return message_list(value, column, notes)
    text, thought = _text(value, column), None
    if role == "model":
        text, thought = said_and_thought(text, None, notes)
    if not text.strip():
        raise Unusable(f"has an empty `{column}`")
    message = Message(role=role, content=text)
    if thought is not None:
        message["thought"] = thought
    return [message]


def _text(value: Any, column: str) -> str:
    if value is None:
        raise Unusable(f"has no `{column}`", "it is null")
    if not isinstance(value, str):
        raise Unusable(f"has a `{column}` that is no text", f"it is {kind_of(value)}")
    return fit(value, f"`{column}`")


# In the order in which they are tried.
SHAPES = (
    Shape("messages", ("messages",), _listed, ("system",)),
    Shape("sharegpt", ("conversations",), _listed, ("system",)),
    Shape("alpaca", ("instruction", "output"), _instructed, ("input", "system"), THOUGHTS),
    Shape("prompt_completion", ("prompt", "completion"), _paired, ("system",), THOUGHTS),
    Shape("prompt_response", ("prompt", "response"), _paired, ("system",), THOUGHTS),
    Shape("question_answer", ("question", "answer"), _paired, ("system",), THOUGHTS),
)
_KNOWN = tuple(
    dict.fromkeys(
        column for shape in SHAPES for column in (*shape.columns, *shape.optional, *sorted(shape.thoughts))
    )
)


# Whether a row's answer is a good one, as rows for KTO say it.
_LABEL = "label"
_BESIDE = frozenset((*MARKS, _LABEL, *DEFINITIONS))


class Form:
    """How the rows of one source are read: by the columns its reader names, else by those
    that are recognised."""

    has_messages = True

    def __init__(self, source: SourcePlan) -> None:
        """Raises ConfigError for names of columns that do not go together."""
        given = {
            name: str(value)
            for name, value in source.reader.arguments.items()
            if name in ("prompt", "response", "messages", "thought")
        }
        # Columns of tables that are not looked at, by file.
        self.unread: dict[str, list[str]] = {}
        self.named: Shape | None = None
        if "messages" in given:
            if len(given) > 1:
                raise ConfigError(
                    f"source `{source.name}`: `messages` names a whole conversation's column: leave out "
                    + names(name for name in given if name != "messages")
                )
            self.named = Shape("messages", (given["messages"],), _listed)
        elif given:
            missing = {"prompt", "response"} - set(given)
            if missing:
                raise ConfigError(
                    f"source `{source.name}`: `prompt` and `response` go together: name {names(missing)} too"
                )
            thoughts = frozenset((given["thought"],) if "thought" in given else ())
            columns = given["prompt"], given["response"]
            self.named = Shape("prompt_response", columns, _paired, thoughts=thoughts)

    @property
    def _wanted(self) -> tuple[str, ...]:
        """The columns that the reader names."""
        return () if self.named is None else (*self.named.columns, *self.named.thoughts)

    def shape_of(self, row: Row) -> Shape:
        """Raises Unusable for a row in which no conversation is recognised."""
        if self.named is not None:
            for column in self._wanted:
                if column not in row:
                    raise Unusable(*_missing(column, tuple(row)))
            return self.named
        # A column of nulls is how tables write that there is none.
        shape = _recognised(name for name, value in row.items() if value is not None) or _recognised(row)
        if shape is None:
            raise Unusable(*_strange(tuple(row)))
        return shape

    def columns_of(self, header: Iterable[str], file: str) -> list[str]:
        """Which of a table's columns to read, in its order.

        Raises ConfigError where it has none that a conversation can be read from.
        """
        header = tuple(header)
        found = self._columns_of(header, file)
        self.unread[file] = [name for name in header if name not in found]
        return found

    def _columns_of(self, header: tuple[str, ...], file: str) -> list[str]:
        if self.named is not None:
            for column in self._wanted:
                if column not in header:
                    what, detail, remedy = _missing(column, header)
                    raise ConfigError(f"{file} {what} ({detail}): {remedy}")
            return [name for name in header if name in self._wanted or name in _BESIDE]
        if _recognised(header) is None:
            what, detail, remedy = _strange(header)
            raise ConfigError(f"{file} {what} ({detail}): {remedy}")
        return [name for name in header if name in _KNOWN or name in _BESIDE]

    def fits(self, header: Iterable[str]) -> bool:
        """Whether a table with these columns holds conversations."""
        header = list(header)
        if self.named is not None:
            return all(column in header for column in self._wanted)
        return _recognised(header) is not None


def conversation(row: Row, shape: Shape, notes: Notes) -> Conversation:
    """What a row holds; `notes` is told what else there is.  Raises Unusable."""
    messages = shape.read(row, shape, notes)
    if "system" in shape.optional:
        system = _text(row.get("system") or "", "system")
        said = [message["content"].strip() for message in messages if message["role"] == "system"]
        if system.strip() and not said:
            messages.insert(0, {"role": "system", "content": system})
        elif system.strip() and system.strip() not in said:
            # The conversation has one of its own.
            notes.rows.append("system")
    if not any(message["role"] == "model" for message in messages):
        raise Unusable("has no message of a model")
    calling = any(message.get("calls") for message in messages)
    tools = definitions_in(row, shape.columns, calling, notes)
    weight, marks = row_weight(row, shape.columns, notes)
    label = is_good(row.get(_LABEL)) if shape.read is _paired and _LABEL not in shape.columns else None
    if label is not None:
        if not label:
            raise Unusable("has an answer that is labelled as a bad one", "its `label` is false", WITHOUT)
        marks.add(_LABEL)
    for message in messages:
        if weight is not None and message["role"] == "model":
            message.setdefault("weight", weight)
    for name in row:
        if name in marks or name in shape.columns or name in shape.optional or row[name] in NOTHING:
            continue
        if name in DEFINITIONS:
            # Which is told where they are looked for.
            continue
        if name in shape.thoughts:
            _think(messages, row, name, notes)
        else:
            notes.rows.append(name)
    return Conversation(messages, tools)


def _think(messages: list[Message], row: Row, column: str, notes: Notes) -> None:
    """Takes a column as what was thought before the last answer."""
    if not isinstance(row[column], str):
        raise Unusable(f"has a `{column}` that is no text", f"it is {kind_of(row[column])}")
    last = next(message for message in reversed(messages) if message["role"] == "model")
    thought = joined((fit(row[column], f"`{column}`"), last.get("thought", "")))
    if thought is not None:
        last["thought"] = thought
        notes.since(2)


def _recognised(columns: Iterable[str]) -> Shape | None:
    there = set(columns)
    return next((shape for shape in SHAPES if there.issuperset(shape.columns)), None)


# Kept, since a file that lacks a column lacks it on many lines.
@lru_cache(maxsize=64)
def _missing(column: str, there: tuple[str, ...]) -> tuple[str, str, str]:
    guess = suggest(column, there)
    detail = f"did you mean `{guess}`?" if guess else f"its columns are {names(there)}"
    return f"has no column `{column}`", detail, "name one that every row has"


@lru_cache(maxsize=64)
def _strange(columns: tuple[str, ...]) -> tuple[str, str, str]:
    guesses = ((column, suggest(column, _KNOWN)) for column in columns if column not in _KNOWN)
    meant = next((f"; is `{column}` meant to be `{guess}`?" for column, guess in guesses if guess), "")
    return (
        "has no conversation that is recognised",
        (f"its columns are {names(columns)}" if columns else "it has no columns") + meant,
        "name the columns, with `prompt` and `response` or with `messages`",
    )
