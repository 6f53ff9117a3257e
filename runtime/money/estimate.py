"""How many tokens a step's calls take, before any was made.

A prompt is counted as what it will hold: its text, members of sets as they are on average, and what
earlier steps say, as the log has it or as long as their checks and limits let it be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.conditions import there
from synth.compiler.plan.judging.judge_steps import JUDGED
from synth.compiler.plan.judging.marking import BEFORE
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import JsonOutput, RefPlan, StepPlan, Template, ToolPlan
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.value_types import ValueType
from synth.runtime.money.tokens import count

# The first rows that conversations are over, by the conversation's name, as their samples see them.
Examples = Mapping[str, Sequence[Mapping[str, Any]]]
# Mean tokens of a step's prompts and answers in the log, where it has any.
Measured = Callable[[StepPlan], "tuple[float, float] | None"]

_CHARACTERS = 4
_AROUND_A_MESSAGE = 4
# What a Python function gives, where its type says no more.
_TOKENS_OF_A_TEXT = 40
_TOKENS_OF_A_NAME = 3
_ITEMS = 3
_UNKNOWN_ANSWER = 200
_UNKNOWN_ROW = 400
_UNKNOWN_TEXT = 20
_SHORT = 2
_TOKENS_A_WORD = 1.5
_SENTENCE = 25
_WORDS_OF_A_PASSAGE = 220
_PASSAGES = 3
# Of what may be long: few answers are as long as they may be.
_LONGEST_FIELD = 800
_DEEPEST = 6


def unmeasured(step: StepPlan) -> None:
    """A log without a call."""
    return


class Estimate:
    """Tokens of the calls of one cohort, or of a preference's.

    `examples` are the first rows that conversations are over, by the conversation's name.
    """

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        measured: Measured = unmeasured,
        examples: Examples | None = None,
    ) -> None:
        self.plan = plan
        self.cohort = cohort
        self._measured = measured
        self._examples = examples or {}
        self._steps = {step.name: step for step in cohort.steps}
        # What a preference's prompts quote of its conversation is under the conversation's name.
        sources = {pairs.name: pairs.source for pairs in plan.preferences if pairs.steps}
        source = sources.get(cohort.name)
        self._base = None if source is None else plan.cohort(source)
        self._members: dict[str, tuple[Sequence[Member], bool]] = {
            **{axis.name: (axis.members, True) for axis in cohort.axes},
            **{draw.name: (draw.members, bool(draw.set)) for draw in cohort.draws},
        }
        self._judged = {
            id(judge): step for step in cohort.steps for judge in (*step.judged_by, *step.marked_by)
        }
        self._played = {
            id(tool.played): tool for step in cohort.steps for tool in step.tools if tool.played is not None
        }
        self._answers: dict[int, float] = {}

    def of(self, step: StepPlan) -> tuple[float, float]:
        """Tokens of a prompt and of an answer of a step that asks a model."""
        known = self._measured(step)
        if known is not None or step.scores:
            return known or (self._prompt(step), 0.0)
        prompt, answer = self._prompt(step), self.answer(step)
        if not step.tools:
            return prompt, answer
        # Each call of a tool is an answer, and in the prompts of those after it with what it came to.
        calls = [self._call(tool) for tool in step.tools[: step.max_tool_calls]]
        definitions = count(canonical_json(list(step.definitions)))
        again = sum((len(calls) - n) * sum(call) for n, call in enumerate(calls))
        written = answer + sum(call for call, _ in calls)
        return prompt + definitions + again / step.exchanges, written / step.exchanges

    def _call(self, tool: ToolPlan) -> tuple[float, float]:
        """Tokens of a call of a tool and of what it comes to."""
        call = count(tool.name) + of_schema(tool.parameters) + _AROUND_A_MESSAGE
        if tool.played is not None:
            return call, self.answer(tool.played)
        assert tool.call is not None
        return call, _of_type(self.plan.function(tool.call).returns) + _AROUND_A_MESSAGE

    def answer(self, step: StepPlan) -> float:
        """Tokens of what a step says: as the log has them, else as long as it may be, or is composed."""
        known = self._answers.get(id(step))
        if known is None:
            measured = self._measured(step) if step.model is not None else None
            known = self._answers[id(step)] = self._value(step) if measured is None else measured[1]
        return known

    def _prompt(self, step: StepPlan) -> float:
        messages = [
            self._template(template, step) for template in (step.system, step.prompt) if template is not None
        ]
        if step.sees in ("transcript", "template"):
            for turn in self.cohort.turns:
                if turn.name == step.name:
                    break
                if turn.role == "system" and step.system is not None:
                    continue
                messages.append(self._spoken(turn))
                if step.role != "user" and turn.tools:
                    messages.append(self._called(turn))
        elif step.sees == "row":
            messages.append(_UNKNOWN_ROW)
        return sum(messages) + _AROUND_A_MESSAGE * len(messages)

    def _before(self, step: StepPlan) -> float:
        """Tokens of what comes before a value that is marked."""
        names = [turn.name for turn in self.cohort.turns]
        before = self.cohort.turns[: names.index(step.name)] if step.name in names else ()
        return sum(self._spoken(turn) for turn in before) if before else self._prompt(step)

    def _spoken(self, turn: StepPlan) -> float:
        return self._field(turn, ("content",)) if turn.thinks else self.answer(turn)

    def _called(self, turn: StepPlan) -> float:
        """Tokens of what a turn calls and of what that comes to."""
        return sum(sum(self._call(tool)) for tool in turn.tools[: turn.max_tool_calls])

    def _value(self, step: StepPlan) -> float:
        if step.value is not None:
            return self._template(step.value, step)
        if step.call is not None and step.call.name == "opening":
            return _UNKNOWN_ROW
        if step.call is not None and step.call.name == "either":
            branches = step.call.arguments.values()
            return sum(
                self._template((branch,), step) for branch in branches if isinstance(branch, (str, RefPlan))
            ) / len(branches)
        if step.rubric is not None and step.call is not None:
            output = step.marked_by[0].output
            return of_schema(output.schema_) if isinstance(output, JsonOutput) else _SHORT
        if step.call is not None and step.call.source:
            return _of_type(self.plan.function(step.call).returns)
        if step.call is not None:
            return self._passages(step.call.arguments)
        limit = step.sampling.max_tokens
        if isinstance(step.output, JsonOutput):
            # Cut JSON is no answer, so a limit that is too low for it says nothing of its length.
            return of_schema(step.output.schema_)
        bounds = (_checked(check.name, check.arguments) for check in step.checks)
        length = min((bound for bound in bounds if bound is not None), default=_UNKNOWN_ANSWER)
        return max(1.0, min(length, limit or length))

    def _passages(self, arguments: Mapping[str, Any]) -> float:
        wanted = arguments.get("top_k", arguments.get("count"))
        number = wanted if isinstance(wanted, int) else _PASSAGES
        words = _WORDS_OF_A_PASSAGE
        source = next((entry for entry in self.plan.sources if entry.name == arguments.get("source")), None)
        if source is not None and source.split is not None:
            max_words = source.split.arguments.get("max_words")
            words = max_words if isinstance(max_words, int) else words
        return number * (words * _TOKENS_A_WORD + _AROUND_A_MESSAGE)

    def _template(self, template: Template, step: StepPlan) -> float:
        return sum(count(part) if isinstance(part, str) else self._reference(part, step) for part in template)

    def _reference(self, part: RefPlan, step: StepPlan) -> float:
        first, *rest = part.path
        judged = self._judged.get(id(step))
        if first == JUDGED and judged is not None:
            return self._spoken(judged)
        if first == BEFORE and judged is not None:
            return self._before(judged)
        tool = self._played.get(id(step))
        if tool is not None:
            return self._argument(tool, first, rest)
        if self._base is not None and first == self._base.name and rest:
            return Estimate(self.plan, self._base, self._measured, self._examples)._named(rest)
        return self._named(part.path)

    def _argument(self, tool: ToolPlan, name: str, path: Sequence[str]) -> float:
        """Tokens of what a tool that a model plays is called with."""
        argument = tool.given.get(name)
        if isinstance(argument, RefPlan):
            return self._named((*argument.path, *path))
        if name in tool.given:
            return _tokens_at(argument, path)
        schema = _at({"properties": tool.parameters.get("properties")}, (name, *path))
        return _SHORT if schema is None else of_schema(schema)

    def _named(self, path: Sequence[str]) -> float:
        """Tokens of what a path leads to in a sample: a step's value, or a row's or a member's field."""
        first, *rest = path
        known, table = self._steps.get(first), self.cohort.rows
        if known is not None:
            return self._field(known, rest)
        if first in self._members:
            members, fields = self._members[first]
            return _mean(members, rest if fields else ["value", *rest])
        parent = self.plan.parent_of(self.cohort)
        if table is not None and parent is not None and first == table.name and rest:
            return Estimate(self.plan, parent, self._measured, self._examples)._named(rest)
        examples = self._examples.get(self.cohort.name)
        if examples:
            return sum(_tokens_at(example, path) for example in examples) / len(examples)
        dealt = next((deal for deal in self.cohort.dealt if deal.name == first), None)
        if dealt is not None and dealt.table:
            type_ = self.plan.source(dealt.table).row
            one = _UNKNOWN_ROW if type_ is None else _of_field(type_, rest)
            return one * (dealt.count or 1)
        if table is None or first not in (table.name, *(inner.name for inner in table.lists)):
            return _SHORT
        source = next((entry for entry in self.plan.sources if entry.name == table.table), None)
        return _UNKNOWN_ROW if source is None or source.row is None else _of_field(source.row, rest)

    def _field(self, step: StepPlan, path: Sequence[str]) -> float:
        """Tokens of a field of what a step says: its part of the whole."""
        whole = self.answer(step)
        if path and (path[0] == "agreement" or (step.rubric is not None and path[0] == step.rubric.name)):
            return _SHORT
        if path and path[0] == "calls" and step.tools:
            return self._called(step)
        if not path or not isinstance(step.output, JsonOutput):
            return whole
        schema: Mapping[str, Any] = step.output.schema_
        part = _at(schema, path)
        return whole if part is None else whole * min(1.0, of_schema(part) / max(1.0, of_schema(schema)))


def retries(steps: Sequence[StepPlan]) -> dict[str, int]:
    """How many calls each step that asks makes at most for one sample, by name: one with tools makes one
    after each call of a tool, a judge is asked about each attempt, and again where it gives no verdict."""
    calls: dict[str, int] = {}
    for step in steps:
        attempts = step.candidates * (step.retry + 1)
        if step.model is not None:
            calls[step.name] = attempts * (step.max_tool_calls + 1)
        for player in step.players:
            calls[player.name] = attempts * step.max_tool_calls * (player.retry + 1)
        for judge in (*step.judged_by, *step.marked_by):
            calls[judge.name] = attempts * (judge.retry + 1)
    return calls


def of_schema(schema: Mapping[str, Any]) -> float:
    """About how many tokens JSON of a schema has."""
    return _of_schema(schema, schema, 0)


def _of_schema(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> float:
    if depth > _DEEPEST:
        return _SHORT
    if "$ref" in schema:
        target = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
        return _of_schema(target, root, depth + 1)
    if "enum" in schema:
        options = schema["enum"]
        return sum(count(canonical_json(option)) for option in options) / max(1, len(options))
    if "const" in schema:
        return count(canonical_json(schema["const"]))
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return max(_of_schema(part, root, depth + 1) for part in schema[union])
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        return _SHORT + sum(
            count(name) + _SHORT + _of_schema(part, root, depth + 1) for name, part in fields.items()
        )
    if kind == "array":
        low = int(schema.get("minItems", 1))
        high = int(schema.get("maxItems", low + 2))
        return _SHORT + (low + high) / 2 * (1 + _of_schema(schema.get("items", {}), root, depth + 1))
    if kind == "string":
        low = int(schema.get("minLength", 0))
        if "maxLength" not in schema:
            return max(_UNKNOWN_TEXT, low / _CHARACTERS)
        return max(1.0, min(int(schema["maxLength"]) + low, max(_LONGEST_FIELD, 2 * low)) / 2 / _CHARACTERS)
    return _SHORT


def _at(schema: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    part: Any = schema
    for name in path:
        part = part.get("properties", {}).get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else None


def _checked(check: str, arguments: Mapping[str, Any]) -> float | None:
    """Tokens of an answer in the middle of what a check of its length allows; None for any other."""
    sizes = {"length": ("characters", 1 / _CHARACTERS), "sentences": ("count", _SENTENCE)}
    if check not in sizes:
        return None
    name, tokens = sizes[check]
    bounds = arguments.get(name)
    low, high = bounds if isinstance(bounds, list) and len(bounds) == 2 else (None, None)
    if not isinstance(high, int):
        return max(_UNKNOWN_ANSWER, low * tokens) if isinstance(low, int) else _UNKNOWN_ANSWER
    return ((low if isinstance(low, int) else 0) + high) / 2 * tokens


def _mean(members: Sequence[Member], path: Sequence[str]) -> float:
    """Tokens of a field of a set's members on average, by their weights."""
    total = sum(member.weight for member in members)
    if not total:
        return _SHORT
    return sum(member.weight * _of_member(member, path) for member in members) / total


def _of_field(type_: ValueType | None, path: Sequence[str]) -> float:
    """Tokens of a row's field, by its type alone."""
    for name in path:
        type_ = None if type_ is None else type_.field(name)
    if type_ is None or type_.kind in ("messages", "record"):
        return _UNKNOWN_ROW
    if type_.kind != "text" or (type_.low is None and type_.high is None):
        return _of_type(type_)
    most = min(type_.high or _LONGEST_FIELD, _LONGEST_FIELD)
    return max(1.0, (most + (type_.low or 0)) / 2 / _CHARACTERS)


def _of_member(member: Member, path: Sequence[str]) -> float:
    return _tokens_at({"name": member.label, **member.fields}, path)


def _tokens_at(value: Any, path: Sequence[str]) -> float:
    """Tokens of what a path leads to."""
    value = there(path, value)
    if value is None:
        return 0
    return count(value if isinstance(value, str) else canonical_json(value))


def _of_type(type_: ValueType) -> float:
    """About how many tokens a value of a type has, as text or JSON."""
    if type_.kind in ("text", "any"):
        return _TOKENS_OF_A_TEXT
    if type_.kind == "list":
        return _ITEMS * _of_type(type_.items or ValueType(kind="text"))
    if type_.kind == "record":
        inner = [field for _, field in type_.fields] or [type_.items or ValueType(kind="text")] * _ITEMS
        return sum(_of_type(item) + _TOKENS_OF_A_NAME for item in inner)
    return _TOKENS_OF_A_NAME
