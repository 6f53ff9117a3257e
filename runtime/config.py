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

[simulate]                    # for --simulate
latency = 0.2                 # seconds
failures = 0.05               # share of calls
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from compiler.backends import BACKENDS
from compiler.plan import Frozen, ModelPlan
from dsl.errors import ConfigError
from dsl.suggest import suggest
from runtime.engines.base import EngineSpec
from runtime.money.kept import known_price
from runtime.money.prices import Price, Priced

FILE_NAME = "synth.toml"
# The name of the model that `--student` gives.
STUDENT = "student"


class File(Frozen):
    """What a `synth.toml` may hold."""

    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    simulate: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where each model runs.  `given` are `--model` options; `everywhere` is `pocket` or
    `simulated` when `--pocket` or `--simulate` maps all that `given` does not."""

    file: File = field(default_factory=File)
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
        entry = dict(self.file.models.get(model.name, {}))
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
        raise ConfigError("--pocket and --simulate both say where every model runs: give one of them")
    file = _read(folder)
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
    return Settings(file, given, everywhere)


def _require_known(name: str, names: Sequence[str], option: str) -> None:
    if name not in names:
        guess = suggest(name, names)
        known = ", ".join(f"`{each}`" for each in names) or "none"
        raise ConfigError(
            f"{option}: the recipe uses no model `{name}`; "
            + (f"did you mean `{guess}`?" if guess else f"its models are {known}")
        )


def parse_mapping(text: str, file: File | None = None) -> EngineSpec:
    """`base=vllm:google/gemma-3-1b-it@abc123`, with the options of synth.toml's same backend."""
    name, equals, place = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--model {text}: write NAME=BACKEND:ID[@REVISION], such as base=openai:gpt-4o")
    return _parse_place(name, place, f"--model {text}", f"{name}=", file)


def _parse_place(name: str, place: str, option: str, before: str, file: File | None) -> EngineSpec:
    """Where a model runs, from an option as it was given; `before` is what stands there before it."""
    backend, _, rest = place.partition(":")
    if not backend:
        raise ConfigError(f"{option}: write {before}BACKEND:ID[@REVISION], such as {before}openai:gpt-4o")
    if backend not in BACKENDS:
        guess = suggest(backend, BACKENDS)
        raise ConfigError(
            f"{option}: there is no backend `{backend}`; "
            + (f"did you mean `{guess}`?" if guess else f"they are {', '.join(BACKENDS)}")
        )
    if BACKENDS[backend].needs_id and not rest:
        raise ConfigError(f"{option}: say which model: {before}{backend}:ID")
    id_, at, revision = rest.rpartition("@")
    if not at or Path(rest).is_dir():
        id_, revision = rest, ""
    elif not BACKENDS[backend].hosted and Path(id_).is_dir():
        raise ConfigError(
            f"{option}: {id_} is a folder, which has no revisions and is known by what is in it: leave "
            f"`@{revision}` out"
        )
    entry = dict(file.models.get(name, {})) if file is not None else {}
    options = {k: v for k, v in entry.items() if k not in ("backend", "id", "revision", "adapter")}
    if entry.get("backend") != backend:
        options = dict(file.simulate) if file is not None and backend == "simulated" else {}
    return EngineSpec(name, backend, id_, revision or None, options=options)


def _read(folder: Path) -> File:
    for place in (folder, *folder.parents):
        path = place / FILE_NAME
        if path.is_file():
            break
    else:
        return File()
    try:
        return File.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: `{where}`: {first['msg']}") from None
