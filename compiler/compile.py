"""From a recipe's text to its plan: read, parse, bind, check, lower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.bind import bind
from compiler.check import check
from compiler.lower import lower
from compiler.plan import Plan
from dsl.diagnostic import Diagnostic, Diagnostics
from dsl.errors import RecipeError
from dsl.parse import parse
from dsl.read import read, read_text
from dsl.source import Source


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan and what there was to say about the recipe: warnings only."""

    plan: Plan
    warnings: tuple[Diagnostic, ...]


def compile_file(path: Path, overrides: Mapping[str, str] | None = None) -> Compiled:
    """Compiles a recipe file.  Raises RecipeError with all diagnostics when there are faults,
    ConfigError when the file cannot be read."""
    return _compile(*read(path), overrides or {})


def compile_text(text: str, name: str = "<recipe>", overrides: Mapping[str, str] | None = None) -> Compiled:
    """Compiles a recipe that is not in a file."""
    return _compile(*read_text(text, name), overrides or {})


def diagnose(
    source: Source, found: list[Diagnostic], overrides: Mapping[str, str]
) -> tuple[Plan | None, Diagnostics]:
    """The plan, or None when there are faults, and everything there is to say."""
    diagnostics = Diagnostics()
    diagnostics.extend(found)
    syntax, faults = parse(source)
    diagnostics.extend(faults)
    bound = bind(syntax, overrides, diagnostics)
    check(bound, diagnostics)
    return (None if diagnostics.has_errors else lower(bound)), diagnostics


def _compile(source: Source, found: list[Diagnostic], overrides: Mapping[str, str]) -> Compiled:
    plan, diagnostics = diagnose(source, found, overrides)
    if plan is None:
        raise RecipeError(diagnostics.sorted())
    return Compiled(plan, diagnostics.sorted())
