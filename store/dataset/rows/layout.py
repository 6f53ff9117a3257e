"""The rows of a dataset: conversations and pairs in the form an export asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.errors import ConfigError
from synth.compiler.bind.declarations.exports import FORMS
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.inputs.messages import Message
from synth.store.dataset.rows.columns import duckdb_type
from synth.store.dataset.rows.tool_calls import TOOLS, called, function_call, in_turns, may_call


@dataclass(frozen=True, slots=True)
class Messages:
    """A column of messages, or of one: the DuckDB type of each field of a message.  Where some call tools
    they are JSON, so that a message has no field that nobody gave it."""

    fields: Mapping[str, str]
    single: bool = False
    json: bool = False


# What a column holds: a DuckDB type, messages, or a type of the plan's.
Column = str | Messages | ValueType

# A row, and what decides the split it goes to: the id of the sample that it is made from.
Row = tuple[str, dict[str, Any]]

# The same as a line of JSON, without the line's end.
Line = tuple[str, str]

_WEIGHTED = ("messages", "prompt_completion", "sharegpt")
_TYPED = {
    "label": "BOOLEAN",
    **dict.fromkeys(("step", "check", "reason"), "VARCHAR"),
    "responses": "VARCHAR[]",
    "marks": "DOUBLE[]",
    "thoughts": "VARCHAR[]",
}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SHAREGPT_FORMS = ("sharegpt", "sharegpt_preference")
_SHAREGPT = {"system": "system", "user": "human", "model": "gpt", "tool": "observation"}

# The marks of `thought = wrap`, as any reader of them may take them: in whatever case, and with
# white space inside.
_MARK = re.compile(r"<(?=\s*/?\s*think\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation on its way into a dataset, from a sample or from a row of a source.

    `key` decides its split: rows that repeat a conversation have its key and ids of their own, each the
    number of its `copy` from 1 on.  `source` is where it is from, where rows say so.
    """

    id: str
    key: str
    messages: Sequence[Message]
    source: str | None = None
    tags: tuple[str, ...] = ()
    columns: Mapping[str, Any] | None = None
    copy: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """What an export's rows look like.  `source`, `tags` and `tools` are columns that only some have."""

    export: ExportPlan
    source: bool = False
    tags: bool = False
    tools: bool = False

    @classmethod
    def of(cls, plan: Plan, export: ExportPlan, calling: Container[str] = ()) -> Layout:
        """`calling` are the sources whose rows call tools.  Raises ConfigError for a column that these name
        as well."""
        mixed = {mix.name: [name for part in mix.parts for name in part.sources] for mix in plan.mixes}
        paired = {preference.name: [preference.source] for preference in plan.preferences}
        behind = (mixed | paired).get(export.source, [export.source])
        cohorts = [cohort for cohort in plan.cohorts if cohort.name in behind]
        tags = any(cohort.tags for cohort in cohorts)
        tools = any(name in calling for name in behind) or any(may_call(each, calling) for each in cohorts)
        if tools and any(getattr(column, "name", column) == TOOLS for column in export.columns):
            raise ConfigError(
                f"the export `{export.name}` has a column `{TOOLS}`, and rows that call tools have one of "
                "that name: name it otherwise in `columns { }`"
            )
        return cls(export, export.source in mixed, tags, tools)

    @property
    def columns(self) -> dict[str, Column]:
        """The columns and what each holds, in order."""
        names = ("from", "value") if self.export.type in _SHAREGPT_FORMS else ("role", "content")
        message = dict.fromkeys(names, "VARCHAR")
        if self.export.type in _WEIGHTED:
            message["weight"] = "TINYINT"
        if self.export.thought == "keep":
            message["thought"] = "VARCHAR"
        found: dict[str, Column] = {"id": "VARCHAR"}
        for name in FORMS[self.export.type]:
            single = self.export.type == "sharegpt_preference" and name != "conversations"
            found[name] = _TYPED.get(name) or Messages(message, single, self.tools)
        if self._lists_thoughts:
            found["thoughts"] = _TYPED["thoughts"]
        if self.tools:
            if self.export.type == "ranked":
                found["traces"] = "JSON[]"
            found[TOOLS] = "VARCHAR" if self.export.type in _SHAREGPT_FORMS else "JSON[]"
        if self.source:
            found["source"] = "VARCHAR"
        if self.tags:
            found["tags"] = "VARCHAR[]"
        for column in self.export.columns:
            if isinstance(column, str):
                found[column] = "VARCHAR"
            else:
                found[column.name] = column.type
        return found

    @property
    def types(self) -> dict[str, str]:
        """The columns and their DuckDB types, in order."""
        return {name: _duckdb_type(column) for name, column in self.columns.items()}

    def conversation(self, said: Conversation) -> Iterator[Row]:
        """The rows of a conversation: one, save for `prompt_completion`, which has one for each
        trained message."""
        messages = self.messages(said.messages)
        more = self._more(said.source, said.tags, said.columns)
        if self.export.type != "prompt_completion":
            (column,) = FORMS[self.export.type]
            yield said.key, {"id": said.id, column: messages, **more}
            return
        trained = [index for index, message in enumerate(messages) if message["weight"]]
        for number, index in enumerate(trained):
            name = said.id if len(trained) == 1 else f"{said.id}-{number}"
            prompt = [{**message, "weight": 0} for message in messages[:index]]
            yield said.key, {"id": name, "prompt": prompt, "completion": [messages[index]], **more}

    def pair(
        self,
        name: str,
        key: str,
        prompt: Sequence[Message],
        chosen: Sequence[Message],
        rejected: Sequence[Message],
        tags: tuple[str, ...],
        columns: Mapping[str, Any],
    ) -> Row:
        """A row of `preference`: `key` is the sample that both answer in.  Raises ConfigError where who
        reads single messages would be given several."""
        before, better, worse = (self.messages(each) for each in (prompt, chosen, rejected))
        if self.export.type == "sharegpt_preference":
            if len(better) > 1 or len(worse) > 1:
                raise ConfigError(
                    f"`{self.export.type}` compares single messages, and the answers of `{name}` call tools: "
                    "export `preference`"
                )
            row: dict[str, Any] = {"conversations": before, "chosen": better[-1], "rejected": worse[-1]}
        else:
            row = {"prompt": before, "chosen": better, "rejected": worse}
        return key, {"id": name, **row, **self._more(None, tags, columns)}

    def labelled(
        self,
        name: str,
        key: str,
        prompt: Sequence[Message],
        completion: Sequence[Message],
        label: bool,
        tags: tuple[str, ...],
        columns: Mapping[str, Any],
        why: Mapping[str, str] | None = None,
    ) -> Row:
        """A row of `unpaired` or of `rejected`: `why` has the step, the check and its reason, which
        the latter shows."""
        row = {
            "id": name,
            "prompt": self.messages(prompt),
            "completion": self.messages(completion),
            "label": label,
            **(why or {}),
        }
        return key, row | self._more(None, tags, columns)

    def ranked(
        self,
        name: str,
        key: str,
        prompt: Sequence[Message],
        responses: Sequence[Sequence[Message]],
        marks: Sequence[float],
        tags: tuple[str, ...],
        columns: Mapping[str, Any],
    ) -> Row:
        """A row of `ranked`: the responses as texts in the order of their marks, and what was said and done
        before each where tools can be called."""
        row: dict[str, Any] = {
            "id": name,
            "prompt": self.messages(prompt),
            "responses": [self.message(each[-1])["content"] for each in responses],
            "marks": list(marks),
        }
        if self._lists_thoughts:
            row["thoughts"] = [each[-1].get("thought") for each in responses]
        if self.tools:
            row["traces"] = [self.messages(each[:-1]) for each in responses]
        return key, row | self._more(None, tags, columns)

    @property
    def _lists_thoughts(self) -> bool:
        """Whether thoughts are kept of what is said as texts."""
        return self.export.type == "ranked" and self.export.thought == "keep"

    def messages(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """Messages as the export wants them."""
        if self.tools and self.export.type in _SHAREGPT_FORMS:
            messages = in_turns(list(messages))
        return [self.message(each) for each in messages]

    def message(self, message: Message) -> dict[str, Any]:
        """A message with the names, the thought, the weight and the calls that the export wants."""
        role, content, thought = message["role"], message["content"], message.get("thought")
        if self.export.thought == "wrap" and role == "model":
            content = _wrapped(content, thought)
        if self.export.type in _SHAREGPT_FORMS:
            shown: dict[str, Any] = {"from": _SHAREGPT[role], "value": content}
            if calls := message.get("calls"):
                shown = function_call(content, calls)
        else:
            shown = {"role": self.export.roles if role == "model" else role, "content": content}
            shown |= called(message)
        if self.export.type in _WEIGHTED:
            shown["weight"] = message["weight"]
        if self.export.thought == "keep" and thought is not None and role == "model":
            shown["thought"] = thought
        return shown

    def _more(
        self, source: str | None, tags: tuple[str, ...], columns: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """The columns beside those of the form."""
        shown = dict(columns or {})
        more: dict[str, Any] = {}
        if self.tools:
            # Nothing rather than an empty list, which some chat templates take for tools.
            tools = shown.pop(TOOLS, None) or None
            more[TOOLS] = _JSON(tools) if tools and self.export.type in _SHAREGPT_FORMS else tools
        if self.source:
            more["source"] = source
        if self.tags:
            more["tags"] = list(tags)
        return more | shown


def _duckdb_type(column: Column) -> str:
    if isinstance(column, str):
        return column
    if isinstance(column, ValueType):
        return duckdb_type(column)
    if column.json:
        return "JSON" if column.single else "JSON[]"
    fields = ", ".join(f'"{name}" {type_}' for name, type_ in column.fields.items())
    return f"STRUCT({fields}){'' if column.single else '[]'}"


def as_lines(rows: Iterable[Row]) -> list[Line]:
    """Rows as lines of JSON."""
    return [(key, _JSON(row)) for key, row in rows]


def _wrapped(content: str, thought: str | None) -> str:
    """Content with its thought before it.  A mark inside either becomes `&lt;think>`, so that the
    marks around the thought are the only ones."""
    content = _MARK.sub("&lt;", content)
    return content if thought is None else f"<think>{_MARK.sub('&lt;', thought)}</think>\n\n{content}"
