"""A backend's options as `synth.toml` and Python give them, and what is wrong with one in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from synth.base.canonical import Frozen
from synth.base.errors import EngineError
from synth.base.suggest import some_of, suggest
from synth.runtime.engines.base import EngineSpec

Options = TypeVar("Options", bound=Frozen)

_TAKES: Mapping[str, str] = {
    **dict.fromkeys(("string_type", "string_sub_type"), "a text in quotes"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "dataclass_type"), "a table of settings"),
    **dict.fromkeys(("tuple_type", "list_type"), 'a list, such as ["..."]'),
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("more than {:g}", "gt"),
    "greater_than_equal": ("{:g} or more", "ge"),
    "less_than": ("less than {:g}", "lt"),
    "less_than_equal": ("at most {:g}", "le"),
    "literal_error": ("{}", "expected"),
}


class BadOption(EngineError):
    """An option that a backend does not know or cannot use; `option` names it."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


def read_options(kind: type[Options], spec: EngineSpec) -> Options:
    """The options of a spec, checked.  Values are never quoted: one may be a key.  Raises BadOption."""
    for name in spec.options:
        if name not in kind.model_fields:
            guess = suggest(name, kind.model_fields)
            known = f"did you mean `{guess}`?" if guess else f"it has {', '.join(sorted(kind.model_fields))}"
            raise BadOption(
                f"model `{spec.name}`: the {spec.backend} backend has no option `{name}`; {known}", name
            )
    try:
        return kind.model_validate(dict(spec.options))
    except ValidationError as error:
        fault: Mapping[str, Any] = error.errors()[0]
    name = str(fault["loc"][0])
    raise BadOption(f"model `{spec.name}`: option `{name}` is wrong: {in_words(fault)}", name)


def in_words(fault: Mapping[str, Any]) -> str:
    """What is wrong with a setting, of the first of a validation's faults."""
    inner = [part for part in fault["loc"][1:] if isinstance(part, int)]
    item = f"item {inner[-1] + 1} " if inner else "it "
    kind, told = fault["type"], fault.get("ctx", {})
    if kind in _TAKES:
        return f"{item}takes {_TAKES[kind]}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{item}has to be {words.format(told[key])}"
    if kind == "missing":
        return "it is missing"
    if kind == "value_error":
        return str(told["error"])
    return str(fault["msg"]).replace("Input should", f"{item}should", 1)


def unknown(name: str, known: Mapping[str, Any]) -> str:
    """A remedy for a name that is none of some."""
    guess = suggest(name, known)
    return f"did you mean `{guess}`?" if guess else f"there is {some_of(known)}"
