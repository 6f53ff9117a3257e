"""`synth.toml` and the options that map a recipe's models to where they run.

[models.base]                 # a model of the recipe, by its name
backend = "vllm"              # any backend; the other keys are its options
id = "google/gemma-3-4b-it"
revision = "<commit>"

[prices."gemini-2.5-flash"]   # money per million tokens, before any list of prices
input = 0.30
output = 2.50
cached_input = 0.03           # of a prompt's tokens that the service had cached; else as input
reasoning = 2.50              # of an answer's tokens that are thinking; else as output
output_limit = 65536          # tokens of an answer to a call without max_tokens

[functions]                   # for Python functions that a recipe uses
seconds = 10                  # for each call
memory_gib = 4                # for each process
workers = 2                   # processes; one a core where nothing is said

[simulate]                    # for --simulate
latency = 0.2                 # seconds
failures = 0.05               # share of calls
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from synth.base.canonical import Frozen
from synth.base.errors import ConfigError, EngineError, OptionError
from synth.base.suggest import some_of, suggest
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import ModelPlan
from synth.runtime.engines import check_options, check_place
from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.options import BadOption, in_words, unknown
from synth.runtime.money.kept import known_price
from synth.runtime.money.prices import Price, Priced

FILE_NAME = "synth.toml"
# The name of the model that `--student` gives.
STUDENT = "student"


class Place(Frozen, extra="allow"):
    """Where a model runs, as a file says; the backend's own options are its extras."""

    backend: str | None = None
    id: str | None = None
    revision: str | None = None
    adapter: str | None = None


class FunctionLimits(Frozen):
    """What `[functions]` may hold: seconds of a call, GiB of a process and the number of processes."""

    seconds: Annotated[float, Field(gt=0, le=86_400)] = 10
    memory_gib: Annotated[float, Field(gt=0)] = 4
    workers: Annotated[int, Field(ge=1)] | None = None


class File(Frozen):
    """What a `synth.toml` may hold."""

    models: dict[str, Place] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    simulate: dict[str, Any] = Field(default_factory=dict)
    functions: FunctionLimits = FunctionLimits()

    def entry(self, model: str) -> dict[str, Any]:
        """What is said of a model, by key; empty where nothing is."""
        place = self.models.get(model)
        return {} if place is None else place.model_dump(exclude_unset=True)


@dataclass(frozen=True, slots=True)
class Text:
    """A settings file's text, for places in it."""

    name: str
    text: str

    def at(self, table: Sequence[str], key: str = "") -> str:
        """`file:line` of a key below a table's header, else of the header; the file's name where the
        table is not written so."""
        header = r"\s*\.\s*".join(_named(part) for part in table)
        begins = re.compile(rf"\s*\[+\s*{header}\s*[\].]")
        is_key = re.compile(rf"\s*{_named(key)}\s*[.=]")
        # Keys above all headers are the file's own.
        found, inside = 0, not table
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.lstrip().startswith("["):
                inside = bool(table) and begins.match(line) is not None
                found = found or number * inside
            elif inside and key and is_key.match(line):
                return f"{self.name}:{number}"
        return f"{self.name}:{found}" if found else self.name


def _named(key: str) -> str:
    """A pattern for a key, in quotes or without."""
    return rf"[\"']?{re.escape(key)}[\"']?"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where each model runs.  `given` are `--model` options; `everywhere` is `pocket` or
    `simulated` when `--pocket` or `--simulate` maps all that `given` does not."""

    file: File = field(default_factory=File)
    text: Text | None = None
    given: Mapping[str, EngineSpec] = field(default_factory=dict)
    everywhere: str | None = None

    def spec(self, model: ModelPlan) -> EngineSpec:
        """Where a model runs: `--model`, else `--pocket` or `--simulate`, else synth.toml, else
        what the recipe says."""
        if model.name in self.given:
            return _reasoning(model, self.given[model.name])
        if self.everywhere is not None:
            if self.everywhere == "simulated":
                # Each model its own name, so that two of them do not answer alike.
                return EngineSpec(model.name, "simulated", model.name, options=self.file.simulate)
            return _reasoning(model, EngineSpec(model.name, self.everywhere, ""))
        entry = self.file.entry(model.name)
        backend = str(entry.pop("backend", model.backend))
        same = backend == model.backend and "id" not in entry
        spec = EngineSpec(
            name=model.name,
            backend=backend,
            id=str(entry.pop("id", model.id if same else "")),
            revision=entry.pop("revision", model.revision if same else None),
            adapter=entry.pop("adapter", model.adapter if same else None),
            options=entry,
        )
        return _reasoning(model, spec)

    def check(self, plan: Plan) -> list[str]:
        """What is to be said of how synth.toml places the models that are needed.  Raises EngineError,
        with its place, for one that cannot run so."""
        asked = {step.model for cohort in (*plan.cohorts, *plan.pair_cohorts) for step in cohort.asking}
        for model in plan.models:
            if model.name not in asked and "embed" not in model.capabilities:
                continue
            spec = self.spec(model)
            try:
                check_place(spec)
                # Whose import is spared where nothing is said.
                if model.name in asked and spec.options:
                    check_options(spec)
            except BadOption as fault:
                raise EngineError(self._placed(spec, fault)) from None
        self._require_sayable(plan)
        return self._mistaken([model.name for model in plan.models]) if self.everywhere is None else []

    def _require_sayable(self, plan: Plan) -> None:
        """Raises ConfigError for a user's turn that sees the transcript without being told so in a prompt, or
        the template, of a model that would answer it as the model: one whose chat template is not known."""
        for step in (step for cohort in (*plan.cohorts, *plan.pair_cohorts) for step in cohort.steps):
            says_so = step.sees == "transcript" and step.prompt is not None
            if step.sees not in ("transcript", "template") or step.role != "user" or says_so:
                continue
            spec = self.spec(plan.model(str(step.model)))
            if spec.backend == "simulated" or "template" in BACKENDS[spec.backend].capabilities:
                continue
            place = f"{spec.backend}:{spec.id}"
            told = f"`{step.name}` is a user's turn that sees the {step.sees}, and {place}, where "
            if step.sees == "template":
                raise ConfigError(
                    f"{told}`{step.model}` runs, shows none: map `{step.model}` to a local model, or ask "
                    "for the turn in a prompt"
                )
            raise ConfigError(
                f"{told}`{step.model}` runs, would answer as the model: map `{step.model}` to a local "
                "model, or say in a prompt who the user is"
            )

    def _placed(self, spec: EngineSpec, fault: BadOption) -> str:
        """A fault with its place in the file, where it is the file's."""
        table = ["simulate"] if self.everywhere == "simulated" else ["models", spec.name]
        said = self.file.simulate if self.everywhere == "simulated" else self.file.entry(spec.name)
        of_file = fault.option in said or (fault.option == "id" and said and spec.name not in self.given)
        return f"{self.text.at(table, fault.option)}: {fault}" if self.text and of_file else str(fault)

    def _mistaken(self, names: Sequence[str]) -> list[str]:
        """Models of the file that the recipe has not, and whose names are nearly those that it has."""
        free = [name for name in names if name not in self.file.models and name not in self.given]
        guesses = {name: suggest(name, free) for name in self.file.models if name not in names}
        return [
            f"{self.text.at(['models', name]) if self.text else FILE_NAME}: the recipe has no model "
            f"`{name}`; did you mean `{guess}`?"
            for name, guess in guesses.items()
            if guess is not None
        ]

    def written_by(self, models: Sequence[ModelPlan]) -> dict[str, dict[str, str]]:
        """What the options say of who answered for each of some models: which of the log's samples
        are meant.  Empty where they say nothing, as synth.toml and recipes never do."""
        found = {model.name: {"backend": self.everywhere} for model in models if self.everywhere is not None}
        for name, spec in self.given.items():
            known = {"id": spec.id, "revision": spec.revision, "adapter": spec.adapter}
            found[name] = {"backend": spec.backend, **{part: each for part, each in known.items() if each}}
        found.pop(STUDENT, None)
        return found

    def price(self, spec: EngineSpec) -> Priced | None:
        """What the model's calls cost: by synth.toml, else by the kept list; None where neither
        knows, and for what runs on this machine."""
        given = self.file.prices.get(spec.id)
        return known_price(spec) if given is None else Priced(given, FILE_NAME)

    def unpriced(self, spec: EngineSpec) -> bool:
        """Whether somebody may charge for the model, and nobody knows how much."""
        backend = BACKENDS.get(spec.backend)
        return backend is not None and backend.hosted and self.price(spec) is None


def _reasoning(model: ModelPlan, spec: EngineSpec) -> EngineSpec:
    """The spec with what the recipe says about reasoning, unless synth.toml says something of it."""
    if model.reasoning is None or "reasoning" in spec.options or spec.backend == "simulated":
        return spec
    return replace(spec, options={**spec.options, "reasoning": model.reasoning})


def load(
    folder: Path,
    *,
    models: Sequence[str] = (),
    pocket: bool = False,
    simulate: bool = False,
    names: Sequence[str] = (),
    student: str | EngineSpec | None = None,
    places: Mapping[str, EngineSpec] | None = None,
) -> Settings:
    """Settings from the nearest `synth.toml` at or above a folder, and from options.

    `models` are `NAME=BACKEND:ID[@REVISION]`; `names` are the recipe's models.  `student` is
    `BACKEND:ID[@REVISION]`, where the model of that name runs.  `places` say of models by name where
    they run.  Raises ConfigError.
    """
    if pocket and simulate:
        raise OptionError("--pocket and --simulate both say where every model runs: give one of them")
    file, written = _read(folder)
    given: dict[str, EngineSpec] = {}
    for text in models:
        spec = parse_mapping(text, file)
        _require_known(spec.name, names, f"--model {text}")
        given[spec.name] = spec
    for name, spec in (places or {}).items():
        _require_known(name, names, "models")
        given[name] = spec
    if isinstance(student, EngineSpec):
        given[STUDENT] = student
    elif student is not None:
        given[STUDENT] = _parse_place(STUDENT, student, f"--student {student}", "", file)
    everywhere = "pocket" if pocket else "simulated" if simulate else None
    return Settings(file, written, given, everywhere)


def _require_known(name: str, names: Sequence[str], option: str) -> None:
    if name not in names:
        guess = suggest(name, names)
        raise OptionError(
            f"{option}: the recipe uses no model `{name}`; "
            + (f"did you mean `{guess}`?" if guess else f"its models are {some_of(names) or 'none'}")
        )


def parse_mapping(text: str, file: File | None = None) -> EngineSpec:
    """`base=vllm:google/gemma-3-1b-it@abc123`, with the options of synth.toml's same backend."""
    name, equals, place = text.partition("=")
    if not name or not equals:
        raise OptionError(f"--model {text}: write NAME=BACKEND:ID[@REVISION], such as base=openai:gpt-4o")
    return _parse_place(name, place, f"--model {text}", f"{name}=", file)


def _parse_place(name: str, place: str, option: str, before: str, file: File | None) -> EngineSpec:
    """Where a model runs, from an option as it was given; `before` is what stands there before it."""
    backend, _, rest = place.partition(":")
    if not backend:
        raise OptionError(f"{option}: write {before}BACKEND:ID[@REVISION], such as {before}openai:gpt-4o")
    if backend not in BACKENDS:
        raise OptionError(f"{option}: there is no backend `{backend}`; {unknown(backend, BACKENDS)}")
    if BACKENDS[backend].needs_id and not rest:
        raise OptionError(f"{option}: say which model: {before}{backend}:ID")
    id_, at, revision = rest.rpartition("@")
    if not at or Path(rest).is_dir():
        id_, revision = rest, ""
    elif not BACKENDS[backend].hosted and Path(id_).is_dir():
        raise ConfigError(
            f"{option}: {id_} is a folder, which has no revisions and is known by what is in it: leave "
            f"`@{revision}` out"
        )
    entry = file.entry(name) if file is not None else {}
    options = {k: v for k, v in entry.items() if k not in ("backend", "id", "revision", "adapter")}
    if entry.get("backend") != backend:
        options = dict(file.simulate) if file is not None and backend == "simulated" else {}
    return EngineSpec(name, backend, id_, revision or None, options=options)


def _read(folder: Path) -> tuple[File, Text | None]:
    for place in (folder, *folder.parents):
        path = place / FILE_NAME
        if path.is_file():
            break
    else:
        return File(), None
    try:
        written = path.read_text("utf-8")
        found = tomllib.loads(written)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    here = Path.cwd()
    text = Text(str(path.relative_to(here) if path.is_relative_to(here) else path), written)
    try:
        return File.model_validate(found), text
    except ValidationError as error:
        raise ConfigError(_fault(text, error.errors()[0])) from None


def _fault(text: Text, fault: Mapping[str, Any]) -> str:
    *table, key = [part for part in fault["loc"] if isinstance(part, str)]
    where = ".".join([*table, key])
    place = text.at(table, key)
    if not table and place == text.name:
        place = text.at([key])
    if fault["type"] == "missing":
        return f"{text.at(table)}: `{where}` is missing"
    if fault["type"] == "extra_forbidden":
        fields = FunctionLimits if table == ["functions"] else Price if table else File
        known = fields.model_fields
        return f"{place}: there is no setting `{where}`; {unknown(key, known)}"
    return f"{place}: `{where}` is wrong: {in_words(fault)}"
