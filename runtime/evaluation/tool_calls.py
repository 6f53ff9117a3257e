"""The measures of calls: whether they fit the tools, and whether a student makes those of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import MetricPlan
from synth.compiler.stdlib.verdict import misfit
from synth.runtime.evaluation import evalsets
from synth.runtime.evaluation.evalset import EvalSet
from synth.runtime.evaluation.items import Calling, Item
from synth.runtime.evaluation.metrics import Metric, Results, unasked
from synth.runtime.evaluation.verdicts import Measured, VerdictCounts
from synth.runtime.samples.arguments import given_alone

_NONE = "no row calls a tool"


class OfCalls(Metric):
    """What a student answers in place of each trained message that calls tools, or answers a user where they
    could be called."""

    def see(self, item: Item, asked: bool) -> None:
        if asked and item.calling:
            self.items.append(item)

    def evalset(self) -> EvalSet | None:
        if self.student is None:
            return None
        return evalsets.calls(self.export.name, self.student, self.items)

    def _answered(self, results: Results) -> Iterator[tuple[Item, Calling, Mapping[str, Any] | None]]:
        """Each message of the rows with what came of asking a student; None where it gave no answer."""
        answered = results.of(self.evalset())
        for item in self.items:
            for calling in item.calling:
                if calling.id in answered:
                    values = answered[calling.id]
                    yield item, calling, None if values is None else values["calls"]

    def _note(self, results: Results) -> str:
        wanted = [calling.id for item in self.items for calling in item.calling]
        return unasked(wanted, results.of(self.evalset())) if wanted else f"{_NONE} or defines one"


class CallsValid(OfCalls):
    """The calls that name a tool of their row with arguments that fit it: those of a dataset's trained
    messages, or of a student."""

    def __init__(self, plan: Plan, of: str, metric: MetricPlan) -> None:
        super().__init__(plan, of, metric)
        self._counts = VerdictCounts(metric)

    def see(self, item: Item, asked: bool) -> None:
        if self.student is not None:
            super().see(item, asked)
            return
        for calling in item.calling:
            for call in calling.calls:
                why = unfit(call, item.tools)
                self._counts.add(item.id, why is None, why or "")

    def measured(self, results: Results) -> Iterator[Measured]:
        if self.student is None:
            yield self._counts.measured(self.of, note="" if self._counts.judged else _NONE)
            return
        counts = VerdictCounts(self.metric)
        for item, calling, heard in self._answered(results):
            if heard is None or "malformed" in heard:
                counts.add(calling.id, False, "no answer" if heard is None else heard["malformed"])
                continue
            for call in heard["calls"]:
                why = unfit(call, item.tools)
                counts.add(calling.id, why is None, why or "")
        note = self._note(results)
        yield counts.measured(self.of, note=note or ("" if counts.judged else "it calls no tool"))


class CallAccuracy(OfCalls):
    """The messages in which a student calls the tools that the row calls, with the same arguments, and none
    where the row calls none."""

    def measured(self, results: Results) -> Iterator[Measured]:
        counts = VerdictCounts(self.metric)
        for item, calling, heard in self._answered(results):
            why = "no answer" if heard is None else _unlike(heard, calling.calls, item.tools)
            counts.add(calling.id, why is None, why or "")
        yield counts.measured(self.of, note=self._note(results))


def unfit(call: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a call fits none of some definitions, or None."""
    function = _defined(str(call["name"]), tools)
    if function is None:
        names = ", ".join(str(each["function"]["name"]) for each in tools)
        told = f"the tools are {names}" if names else "the row defines none"
        return f"there is no tool {quoted(str(call['name']))}: {told}"
    parameters = function.get("parameters")
    if not parameters:
        return f"`{call['name']}` takes no arguments" if call["arguments"] else None
    try:
        why = misfit(canonical_json(parameters), given_alone(parameters, dict(call["arguments"])))
    except Exception as error:
        return f"the parameters of `{call['name']}` are no JSON Schema: {error}"
    return None if why is None else f"`{call['name']}`: its call {why}"


def _defined(name: str, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((each["function"] for each in tools if each["function"]["name"] == name), None)


def _unlike(
    heard: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> str | None:
    """How what a student calls differs from the calls of a row, whose order does not matter; None where it
    does not."""
    if "malformed" in heard:
        return str(heard["malformed"])
    if not wanted:
        names = (str(call["name"]) for call in heard["calls"])
        return f"calls {_named(names)}, and the row calls nothing" if heard["calls"] else None
    if not heard["calls"]:
        return f"calls no tool and says {quoted(str(heard['text'])[:80])}"
    left = [(str(call["name"]), _filled(call, tools)) for call in heard["calls"]]
    lacking = []
    for call in wanted:
        one = str(call["name"]), _filled(call, tools)
        if one in left:
            left.remove(one)
        else:
            lacking.append(one)
    if not lacking:
        return f"calls {_named(name for name, _ in left)} besides" if left else None
    name, arguments = lacking[0]
    near = next((other for called, other in left if called == name), None)
    if near is None:
        return f"does not call {quoted(name)}" + (f" but {_named(name for name, _ in left)}" if left else "")
    fields = [field for field in sorted({*arguments, *near}) if arguments.get(field) != near.get(field)]
    shown = f"{near.get(fields[0], 'nothing')}, not {arguments.get(fields[0], 'nothing')}"
    return f"calls {quoted(name)} with another {_named(fields)}: {shown}"


def _filled(call: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A call's arguments as JSON texts that are equal where they mean the same; those that are left out are
    what the definition says then."""
    function = _defined(str(call["name"]), tools) or {}
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    found = {
        name: each["default"]
        for name, each in (properties.items() if isinstance(properties, Mapping) else ())
        if isinstance(each, Mapping) and "default" in each
    }
    return {name: canonical_json(_whole(value)) for name, value in {**found, **call["arguments"]}.items()}


def _whole(value: Any) -> Any:
    """A value in which 1.0 is 1, as it is in JSON Schema."""
    if isinstance(value, Mapping):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _named(names: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)
