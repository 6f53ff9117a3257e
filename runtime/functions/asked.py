"""One call of a function for a sample, and what it can come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.version import package_version
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.stdlib.running import is_running
from synth.store.dataset.inputs.verdicts import call_key
from synth.store.log.past.functions import LoggedResult
from synth.store.log.past.logged import LoggedSample

# The content of files that a call is given, as sha256 by path; None of one that is not there.
Files = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Application:
    """One call of a function for a sample: its arguments as they are in it.  `is_check` says that what it
    gives is a reason for refusing; `is_tool`, that a model is told whatever it comes to; `seed` decides what
    a simulation makes up."""

    sample_id: str
    step: str
    attempt: int
    function: FunctionPlan
    arguments: Mapping[str, Any]
    earlier: LoggedSample
    seed: int
    is_check: bool = False
    is_tool: bool = False

    @property
    def key(self) -> str:
        """sha256 of source and arguments, in hex."""
        return call_key(self.function, self.arguments)


@dataclass(frozen=True, slots=True)
class Result:
    """JSON that a function gave."""

    value: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call gave nothing: a clause.  `lasting` says that another call would end the same way."""

    reason: str
    lasting: bool = True


def packages_imported(functions: Iterable[FunctionPlan]) -> dict[str, str]:
    """Versions of the packages that some functions' files import, by the names of these imports, and of what
    runs what was written."""
    functions = tuple(functions)
    names = sorted({name for function in functions for name in function.packages})
    ran = {each.name for each in functions if is_running(each)}
    if ran:
        from synth.runtime.functions.running.means import means

        return means(ran) | packages_imported(each for each in functions if not is_running(each))
    if not names:
        return {}
    from importlib.metadata import packages_distributions

    known = packages_distributions()
    return {name: package_version(known[name][0] if name in known else name) for name in names}


def found(asked: Application, files: Files, simulated: bool) -> LoggedResult | None:
    """The last result of a call in its sample that holds for a run: of the same files, and no fault that
    another try may not have, save where a model was told of it."""
    results = asked.earlier.results.get(asked.key, ())
    fit = [
        each
        for each in results
        if each.files == files and each.simulated == simulated and (each.lasting or asked.is_tool)
    ]
    return fit[-1] if fit else None


def given(logged: LoggedResult) -> Result | Fault:
    return Result(logged.value) if logged.fault is None else Fault(logged.fault, logged.lasting)
