"""What a plan says of the Python functions that it uses."""

from __future__ import annotations

from synth.base.canonical import Frozen
from synth.compiler.plan.value_types import ValueType


class ParameterPlan(Frozen):
    """One that is not `required` may be left out, and then has the value that Python gives it."""

    name: str
    type: ValueType
    required: bool = True


class FunctionPlan(Frozen):
    """A function of a Python file of the project.

    `name` is what recipes call it (`shop.lookup`), `path` its file's place in the project's folder and
    `function` its name there.  A record without fields in a type stands for any record, and then
    `items` may say what its values are.  `source` is the sha256 of what the file does together with the
    project's `files` that it imports; `packages` are what it imports besides.
    """

    name: str
    path: str
    function: str
    parameters: tuple[ParameterPlan, ...] = ()
    returns: ValueType
    source: str
    files: tuple[str, ...]
    packages: tuple[str, ...] = ()
