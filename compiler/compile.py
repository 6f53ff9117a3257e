"""From a recipe's text to its plan: read, parse, bind, check, lower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics
from synth.base.diagnostics.source import Source
from synth.base.errors import ConfigError, RecipeError
from synth.compiler.bind.file import bind, bind_library_file, is_library
from synth.compiler.check import check
from synth.compiler.composed import check_composed
from synth.compiler.lint import lint
from synth.compiler.lower import lower
from synth.compiler.plan.model import Plan
from synth.dsl.parse import parse
from synth.dsl.read import read, read_text


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, warnings about the recipe, and notes on what overrides changed in it."""

    plan: Plan
    warnings: tuple[Diagnostic, ...]
    notes: tuple[str, ...] = ()


def compile_file(
    path: Path, overrides: Mapping[str, str] | None = None, *, lenient: bool = False
) -> Compiled:
    """Compiles a recipe file.  Raises RecipeError with all diagnostics when there are faults,
    ConfigError when the file cannot be read.  `lenient` is for looking, not for running."""
    return _compile(*read(path), overrides or {}, lenient)


def compile_text(text: str, name: str = "<recipe>", overrides: Mapping[str, str] | None = None) -> Compiled:
    """Compiles a recipe that is not in a file."""
    return _compile(*read_text(text, name), overrides or {})


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """`plan` is None where there are faults, and for a library."""

    plan: Plan | None
    diagnostics: Diagnostics
    notes: tuple[str, ...] = ()
    library: bool = False


def diagnose(
    source: Source, earlier: list[Diagnostic], overrides: Mapping[str, str], *, lenient: bool = False
) -> Diagnosed:
    """Everything there is to say about a recipe or library."""
    diagnostics = Diagnostics()
    diagnostics.extend(earlier)
    if earlier and not source.text:
        # Nothing could be read, and nothing more is to be said.
        return Diagnosed(None, diagnostics)
    syntax, faults = parse(source)
    diagnostics.extend(faults)
    if is_library(syntax):
        bind_library_file(syntax, diagnostics)
        return Diagnosed(None, diagnostics.without_cascades(), library=True)
    bound = bind(syntax, overrides, diagnostics, lenient=lenient)
    check(bound, diagnostics)
    lint(bound, source.path.resolve().parent if source.path is not None else None, diagnostics)
    folder = source.path.resolve().parent if source.path is not None else Path()
    plan = None if diagnostics.has_errors else lower(bound).below(folder)
    if plan is not None:
        check_composed(bound, plan, diagnostics)
        plan = None if diagnostics.has_errors else plan
    return Diagnosed(plan, diagnostics.without_cascades(), tuple(bound.notes))


def _compile(
    source: Source, faults: list[Diagnostic], overrides: Mapping[str, str], lenient: bool = False
) -> Compiled:
    diagnosed = diagnose(source, faults, overrides, lenient=lenient)
    if diagnosed.library and not diagnosed.diagnostics.has_errors:
        raise ConfigError(f"{source.name} is a library: compile a recipe that uses it")
    if diagnosed.plan is None:
        raise RecipeError(diagnosed.diagnostics.sorted())
    return Compiled(diagnosed.plan, diagnosed.diagnostics.sorted(), diagnosed.notes)
