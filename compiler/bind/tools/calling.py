"""Binding of `tools` and `max_tool_calls`: what a turn's model may call before it speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import is_too_large
from synth.base.diagnostics.diagnostic import Label
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.asked import Fields, field_constant
from synth.compiler.bind.blocks.bound import Calling, Tool, ToolArgument, ToolUse
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, article
from synth.compiler.bind.functions.bound_call import given_value
from synth.compiler.bind.functions.module import FILE
from synth.compiler.bind.tools.declared import SEEN
from synth.compiler.plan.steps import RefPlan, Role, ToolPlan
from synth.compiler.plan.types import Type, json_schema, unproducible
from synth.dsl.syntax import Argument, Call, Damaged, Expression, List, Reference

# So many calls are allowed in an attempt where nobody says how many.
USUAL_CALLS = 8
_MOST = Type("count", low=1)
_EXAMPLE = "for example `tools = [lookup_order(order = order), refund]`"


def bind_calling(fields: Fields, role: Role | None, name: str, scope: Scope) -> Calling:
    """What the model of the turn `name` may call, and how often."""
    if "tools" not in fields:
        if "max_tool_calls" in fields:
            scope.report(
                "E107",
                f"`{name}` has no tools that could be called",
                fields["max_tool_calls"][1],
                hint=_EXAMPLE,
            )
        return Calling()
    statement, span = fields["tools"]
    most = field_constant(fields, "max_tool_calls", _MOST, scope) or USUAL_CALLS
    written = statement.value
    assert written is not None
    if role is not None and role != "model":
        whose = "a user's" if role == "user" else f"the {role}'s"
        scope.report(
            "E108",
            f"`{name}` is {whose} turn, and tools are called by the model that answers",
            span,
            hint="put them into a turn `: model`",
        )
    if "produces" in fields:
        scope.report(
            "E108",
            f"`{name}` calls tools before it speaks, and what it then says is text",
            fields["produces"][1],
            secondary=(Label(span, "these tools"),),
            hint=f"let a `step` below read it: `{{{{ {name} }}}}`, `{{{{ {name}.calls | json }}}}`",
        )
    if isinstance(written, Damaged):
        return Calling(most=most, span=span)
    if not isinstance(written, List):
        shown = isinstance(written, Reference | Call)
        scope.report(
            "E202",
            "`tools` is a list of tools",
            written.span,
            hint=f"write `tools = [{written.span.text}]`" if shown else _EXAMPLE,
        )
        return Calling(most=most, span=span)
    if not written.items:
        scope.report("E107", f"`{name}` has no tools in its list", span, hint=f"{_EXAMPLE}; or drop it")
    return Calling(tuple(_uses(written.items, scope)), most, span)


def quoted(calling: Calling) -> Iterator[str]:
    """The first names of what the sample fills in."""
    for use in calling.uses:
        yield from (each.path[0] for each in use.plan.given.values() if isinstance(each, RefPlan))


def _uses(items: Sequence[Expression], scope: Scope) -> Iterator[ToolUse]:
    seen: dict[str, Expression] = {}
    for item in items:
        called = item.function if isinstance(item, Call) else item
        if isinstance(called, Damaged):
            continue
        last = str(called).rpartition(".")[2]
        tool: Tool | None = scope.thing(
            called,
            (Tool,),
            "a tool",
            hint=_EXAMPLE,
            instead={FILE: f"declare it: `tool {last} by {called}`, and then `tools = [{last}]`"}
            if isinstance(called, Reference)
            else {},
        )
        if tool is None:
            continue
        if tool.name in seen:
            scope.report(
                "E104",
                f"`{tool.name}` is among the tools twice",
                item.span,
                secondary=(Label(seen[tool.name].span, "first here"),),
                hint="keep one of them; another name needs a `tool` of its own",
            )
            continue
        seen[tool.name] = item
        given = _given(tool, item.arguments, scope) if isinstance(item, Call) else {}
        if given is not None and _may_be_asked(tool, given, item, scope):
            yield ToolUse(_plan(tool, given), tool)


def _given(tool: Tool, arguments: Sequence[Argument], scope: Scope) -> dict[str, Any] | None:
    """What the sample fills in, by the argument's name; None after a report."""
    known = {each.name: each for each in tool.arguments}
    found: dict[str, Any] = {}
    for argument in arguments:
        if argument.name is None:
            free = next((each for each in known if each not in found), "order")
            scope.report(
                "E202",
                f"what the sample fills in of `{tool.name}` has the argument's name",
                argument.span,
                hint=f"for example `{tool.name}({free} = {argument.span.text})`",
            )
            return None
        name = argument.name.text
        if name in found:
            scope.report(
                "E104",
                f"`{name}` of `{tool.name}` is filled in twice",
                argument.span,
                hint="keep one of them",
            )
            return None
        if name not in known:
            _report_unknown(tool, argument, known, scope)
            return None
        found[name] = _value(tool, known[name], argument.value, scope)
    return None if any(value is FAILED for value in found.values()) else found


def _value(tool: Tool, argument: ToolArgument, written: Expression, scope: Scope) -> Any:
    what = f"`{argument.name}` of `{tool.name}`"
    return given_value(written, argument.type, what, tool.span, scope, absent=_absent(tool, argument))


def _absent(tool: Tool, argument: ToolArgument) -> str:
    if tool.call is not None:
        return f"let the function take it: `{argument.name}: ... | None`"
    return f"let the tool take it: `{argument.name}: {argument.type}?`"


def _report_unknown(tool: Tool, argument: Argument, known: Mapping[str, ToolArgument], scope: Scope) -> None:
    assert argument.name is not None
    name = argument.name.text
    if name == SEEN and tool.sees_calls:
        message, hint = f"`{SEEN}` of `{tool.name}` is given the calls before, in every turn", "drop it"
    else:
        guess = suggest(name, known)
        message = f"`{tool.name}` takes no `{name}`"
        hint = f"did you mean `{guess}`?" if guess else f"it takes {some_of(known) or 'nothing'}"
    scope.report("E202", message, argument.span, secondary=(Label(tool.span, "declared here"),), hint=hint)


def _may_be_asked(tool: Tool, given: Mapping[str, Any], item: Expression, scope: Scope) -> bool:
    """Whether a model can give the arguments that the sample does not."""
    for each in tool.arguments:
        beyond = unproducible(each.type) if each.name not in given else None
        # Of Python's types, any JSON can be written.
        if beyond is None or beyond.name == "any":
            continue
        scope.report(
            "E202",
            f"`{each.name}` of `{tool.name}` holds {article(beyond)}, which no model writes",
            item.span,
            secondary=(Label(tool.span, "declared here"),),
            hint=f"fill it in from the sample: `{tool.name}({each.name} = ...)`",
        )
        return False
    return True


def _plan(tool: Tool, given: dict[str, Any]) -> ToolPlan:
    asked = [each for each in tool.arguments if each.name not in given]
    return ToolPlan(
        name=tool.name,
        description=tool.about,
        parameters={
            "type": "object",
            "properties": {each.name: _schema(each, of_python=tool.call is not None) for each in asked},
            "required": [each.name for each in asked if each.required],
            "additionalProperties": False,
        },
        given=given,
        call=tool.call,
        sees_calls=tool.sees_calls,
    )


def _schema(argument: ToolArgument, of_python: bool) -> dict[str, Any]:
    schema = json_schema(argument.type)
    _unbound(schema, of_python)
    return {**schema, "description": argument.about} if argument.about else schema


def _unbound(schema: dict[str, Any], of_python: bool) -> None:
    """Takes the least whole number away, since Python's `int` is below 0 too, and bounds that no argument
    reaches, which `datasets` would not read."""
    if of_python and schema.get("type") == "integer":
        schema.pop("minimum", None)
    for name in [name for name, bound in schema.items() if is_too_large(bound)]:
        del schema[name]
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("properties", {}).values()]
    for each in inner:
        if isinstance(each, dict):
            _unbound(each, of_python)
