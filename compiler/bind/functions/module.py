"""`use shop from "lib/shop.py"`: the functions of a Python file, by their names, when a recipe uses them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from synth.base.diagnostics.diagnostic import Fix, Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.functions.annotations import Annotations
from synth.compiler.bind.functions.files import BadPython, Project
from synth.compiler.plan.functions import FunctionPlan, ParameterPlan
from synth.compiler.plan.types import Type
from synth.compiler.plan.value_types import value_type
from synth.dsl.syntax import Name

PYTHON = ".py"
# The word for such a file in messages.
FILE = "Python file"


@dataclass(frozen=True, slots=True)
class PythonParameter:
    name: str
    type: Type
    required: bool


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A function with the types of the language; `returns` is None where it gives nothing.  `docs` is its
    docstring, which is no part of its source."""

    parameters: tuple[PythonParameter, ...]
    returns: Type | None
    plan: FunctionPlan
    span: Span
    docs: str = ""


@dataclass(slots=True)
class PythonModule:
    """A file under the name that a recipe gives it.  `bound` are the functions that were asked for, None
    where one cannot be used and that was reported."""

    name: str
    project: Project
    root: Path
    bound: dict[str, PythonFunction | None] = field(default_factory=dict)

    def function(self, name: Name, scope: Scope) -> PythonFunction | None:
        """The function of a name; None after a report, in the recipe or in the Python file."""
        if name.text not in self.bound:
            self.bound[name.text] = self._function(name, scope)
        return self.bound[name.text]

    def _function(self, name: Name, scope: Scope) -> PythonFunction | None:
        declared = {
            node.name: node
            for node in self.project.main.tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if name.text not in declared:
            guess = suggest(name.text, declared)
            public = [known for known in declared if not known.startswith("_")]
            scope.report(
                "E101",
                f"`{self.name}` has no function `{name}`",
                name.span,
                hint=f"did you mean `{guess}`?"
                if guess
                else f"`{self.project.main.name}` has {some_of(public) or 'none'}",
                fix=Fix(name.span, guess) if guess else None,
            )
            return None
        try:
            return self._signature(declared[name.text])
        except BadPython as fault:
            report_python(fault, name.span, "used here", scope)
            return None

    def _signature(self, declared: ast.FunctionDef | ast.AsyncFunctionDef) -> PythonFunction:
        file, called = self.project.main, f"`{declared.name}`"
        if isinstance(declared, ast.AsyncFunctionDef):
            raise BadPython(f"{called} is async, and recipes call plain functions", file.span(declared))
        arguments = declared.args
        for many, stars in ((arguments.vararg, "*"), (arguments.kwarg, "**")):
            if many is not None:
                raise BadPython(
                    f"{called} takes `{stars}{many.arg}`, and each argument of a recipe has a type",
                    file.span(many),
                    "write the parameters out; a `list[...]` holds any number",
                )
        read = Annotations(self.project, file, self.root)
        plain = [*arguments.posonlyargs, *arguments.args]
        required = [True] * (len(plain) - len(arguments.defaults)) + [False] * len(arguments.defaults)
        required += [default is None for default in arguments.kw_defaults]
        parameters = []
        for argument, needed in zip([*plain, *arguments.kwonlyargs], required, strict=True):
            if argument.annotation is None:
                raise BadPython(
                    f"`{argument.arg}` of {called} has no type",
                    file.span(argument),
                    f"for example `{argument.arg}: str`",
                )
            parameters.append(PythonParameter(argument.arg, read.type(argument.annotation), needed))
        if declared.returns is None:
            raise BadPython(
                f"{called} does not say what it gives",
                file.span(declared),
                f"for example `def {declared.name}(...) -> str | None`",
            )
        gives_nothing = isinstance(declared.returns, ast.Constant) and declared.returns.value is None
        returns = None if gives_nothing else read.type(declared.returns)
        plan = FunctionPlan(
            name=f"{self.name}.{declared.name}",
            path=file.name,
            function=declared.name,
            parameters=tuple(
                ParameterPlan(
                    name=parameter.name, type=value_type(parameter.type), required=parameter.required
                )
                for parameter in parameters
            ),
            returns=value_type(returns or Type("any", optional=True)),
            source=self.project.digest,
            files=tuple(imported.name for imported in self.project.files),
            packages=self.project.packages,
        )
        docs = ast.get_docstring(declared) or ""
        return PythonFunction(tuple(parameters), returns, plan, file.span(declared), docs)


def report_python(fault: BadPython, used: Span, label: str, scope: Scope) -> None:
    """E207, once for each place in a Python file that recipes cannot use."""
    place = fault.span
    if place is not None and not scope.first(f"{place.source.name} {place.start}"):
        return
    scope.report(
        "E207",
        fault.message,
        place or used,
        secondary=() if place is None else (Label(used, label),),
        hint=fault.hint,
    )
