"""Python functions as a sample's steps use them: as checks of a value, and as what gives one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synth.compiler.plan.conditions import there
from synth.compiler.plan.steps import ArgumentValue, CallPlan, CheckPlan, RefPlan, StepPlan
from synth.compiler.plan.strata import call_seed
from synth.compiler.stdlib.verdict import Refusal, judged_by, parts_of
from synth.runtime.calls.attempt import CallAbandoned, ModelClient, Place
from synth.runtime.functions.asked import Application, Fault, Result
from synth.store.log.past.logged import LoggedSample

# Characters of a reason: more is no help to who reads it.
_MOST_SAID = 1_000


@dataclass(frozen=True, slots=True)
class Asking:
    """One attempt at a step that asks functions.  `values` are what the sample has, the value that is judged
    among them."""

    client: ModelClient
    sample_id: str
    step: StepPlan
    place: Place
    earlier: LoggedSample
    values: Mapping[str, Any]

    async def apply(
        self,
        called: CallPlan | CheckPlan,
        arguments: Mapping[str, Any],
        *,
        is_check: bool,
        is_tool: bool = False,
    ) -> Result | Fault:
        plan = self.client.plan
        function = plan.function(called)
        # What is made up is the same for all calls in a sample, so that comparing two of them says nothing.
        seed = call_seed(plan, self.sample_id, function.name, 0)
        return await self.client.apply(
            Application(
                self.sample_id,
                self.step.name,
                self.place.round,
                function,
                arguments,
                self.earlier,
                seed,
                is_check,
                is_tool,
            )
        )


async def made_by(asking: Asking) -> Any:
    """The value of a step that is what a function gives.  Raises CallAbandoned for a fault of it, CacheMiss
    and Stopped."""
    call = asking.step.call
    assert call is not None
    made = await asking.apply(call, _resolved(call.arguments, asking.values), is_check=False)
    if isinstance(made, Fault):
        raise CallAbandoned(f"{call.name}: {made.reason}", lasting=made.lasting)
    return made.value


async def refusal_of(asking: Asking, value: Any) -> Refusal | None:
    """The first of a step's comparisons with rows and of its functions that a value fails, and why.  Raises
    CacheMiss and Stopped."""
    step = asking.step
    for check in sorted(step.checks, key=lambda check: bool(check.source)):
        if not check.source and not check.against:
            continue
        judged = judged_by(step, check, value, asking.values)
        if check.against:
            alike = asking.client.held.reason(check, judged)
            if alike is not None:
                return Refusal(check.label or check.name, alike)
            continue
        for arguments in _of_each_part(asking, check, judged):
            made = await asking.apply(check, arguments, is_check=True)
            reason = made.reason if isinstance(made, Fault) else made.value
            if reason is not None:
                return Refusal(check.label or check.name, str(reason)[:_MOST_SAID] or "does not hold")
    return None


def _of_each_part(asking: Asking, check: CheckPlan, value: Any) -> Iterator[dict[str, Any]]:
    """Arguments for all that a check judges.  What is absent passes."""
    arguments = _resolved(check.arguments, asking.values)
    first = asking.client.plan.function(check).parameters[0]
    if first.name in arguments:
        if arguments[first.name] is not None or first.type.optional:
            yield arguments
        return
    for part in parts_of(value, check.of):
        yield {first.name: part, **arguments}


def _resolved(arguments: Mapping[str, ArgumentValue], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: there(argument.path, values) if isinstance(argument, RefPlan) else argument
        for name, argument in arguments.items()
    }
