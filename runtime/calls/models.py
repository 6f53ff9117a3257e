"""The models of a run: each name in the recipe with the engine that answers for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synth.base.canonical import canonical_json, digest
from synth.base.errors import ConfigError, EngineError
from synth.base.text import spoken
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.steps import comparing
from synth.compiler.plan.types import Capability
from synth.runtime.calls.rules import CURRENT
from synth.runtime.engines import open_engine
from synth.runtime.engines.base import Engine, EngineSpec, ModelIdentity, Writer
from synth.runtime.money.prices import Priced
from synth.runtime.money.usage import Usage
from synth.runtime.service.limiter import SLOW_START, Limiter
from synth.runtime.service.patience import Patience
from synth.runtime.service.service import WORTH_SAYING_S, Service
from synth.runtime.settings import Settings
from synth.store.log.payloads import CohortLineage

# How long an engine may take to close, in seconds.
CLOSE_S = 30.0

# What an engine's options say of pace alone, which no answer depends on.
_PACE = frozenset({"concurrency", "requests_per_minute", "tokens_per_minute", "timeout", "patience"})
# All that is no part of an outcome: pace, on this machine too, and how a service is reached.
_BESIDE = _PACE | {"batch_size", "max_num_seqs", "threads", "latency", "base_url", "api_key_env"}
# Where services are looked for when no option says it.
_ADDRESSES = ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")


@dataclass(slots=True)
class RunningModel:
    """One engine under one name.  Models that run at the same place share engine and service."""

    name: str
    engine: Engine
    service: Service
    priced: Priced | None
    # Whether `max_tokens` reaches whoever answers.
    limited: bool = True
    # The engine's identity as JSON: a part of every call.
    identity: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = self.engine.identity.model_dump(mode="json")

    @property
    def unpriced(self) -> bool:
        """Whether somebody may charge for it, and nobody knows how much."""
        return self.priced is None and BACKENDS[self.engine.identity.backend].hosted

    def cost(self, usage: Usage) -> float:
        """Money for one call, in the unit of the prices; 0 where none is known."""
        if self.priced is None:
            return 0.0
        prompt, completion, cached, reasoning, _ = usage
        # What was never looked at, such as a call that was turned away, costs nothing either.
        return self.priced.price.cost(prompt, completion, cached, reasoning) if prompt or completion else 0.0


class Models:
    """The models a plan uses, in its order.  Opening them loads tokenizers, not weights.

    `patience`, in seconds, goes before each model's own.  With `asked` False they are only looked at,
    for which no key is needed.
    """

    def __init__(
        self, plan: Plan, settings: Settings, patience: float | None = None, *, asked: bool = True
    ) -> None:
        notes = settings.check(plan)
        self.where = settings
        self._running: dict[str, RunningModel] = {}
        self._starting: dict[int, asyncio.Future[None]] = {}
        self._set_up: dict[str, list[Any]] = {}
        self._set_up_before: dict[str, list[Any]] = {}
        shared: dict[str, tuple[Engine, Service]] = {}
        needed = {step.model for cohort in (*plan.cohorts, *plan.pair_cohorts) for step in cohort.asking}
        for model in plan.models:
            if model.name not in needed:
                continue
            spec = replace(settings.spec(model), asked=asked)
            place = canonical_json([spec.backend, spec.id, spec.revision, spec.adapter, dict(spec.options)])
            if place not in shared:
                engine = open_engine(spec)
                wait = Patience.of(patience, spec.options.get("patience"))
                shared[place] = engine, Service(_limiter(engine, spec.options), wait)
            engine, service = shared[place]
            self._running[model.name] = RunningModel(
                model.name, engine, service, settings.price(spec), _is_limited(spec.options)
            )
            self._set_up[model.name] = _set_up(spec, engine)
            self._set_up_before[model.name] = _set_up_before(spec, engine)
        if asked:
            self._require_tools(plan)
        self.warnings = notes + _warnings(plan.models, self._running)

    def _require_tools(self, plan: Plan) -> None:
        """Raises EngineError for a turn with tools whose model can call none where it runs."""
        for step in (step for cohort in (*plan.cohorts, *plan.pair_cohorts) for step in cohort.asking):
            if (
                not (step.tools or step.calls_tools)
                or "tools" in (engine := self[str(step.model)].engine).capabilities
            ):
                continue
            why = getattr(engine, "without_tools", "") or "which can call none: "
            name = str(step.model)
            raise EngineError(
                f"`{step.name}` calls tools, and its model `{name}` runs on {engine.identity}, {why}map "
                f"`{name}` to a model that calls tools, such as Qwen 2.5, Qwen 3, Llama 3.1 or a hosted one"
            )

    def require_prices(self, max_cost: float) -> None:
        """Raises ConfigError for a model that somebody may charge for when nobody knows how much:
        a bound on money could not hold.  Warns where no model costs anything."""
        for model in self:
            if model.unpriced:
                place = model.engine.identity
                raise ConfigError(
                    f"--max-cost needs prices, and none of `{model.name}` ({place}) is known: give it in "
                    f'synth.toml, [prices."{place.id}"] with input and output per million tokens, 0 where '
                    "it costs nothing"
                )
        if not any(model.priced for model in self):
            self.warnings.append(f"--max-cost {max_cost:g} binds nothing: no model of this run costs money")

    def __getitem__(self, name: str) -> RunningModel:
        return self._running[name]

    def __iter__(self) -> Iterator[RunningModel]:
        return iter(self._running.values())

    @property
    def engines(self) -> Sequence[Engine]:
        """Each engine once."""
        return list({id(model.engine): model.engine for model in self}.values())

    def config_hashes(
        self, plan: Plan, versions: Mapping[str, str] | None = None
    ) -> dict[str, CohortLineage]:
        """What the samples of each cohort, and the pairs of each preference, come from.

        An entry has the fingerprint, the identity of each model, and `config_hash`, which names the
        two in 16 hex digits: samples of one lineage make one dataset.  The entry of a
        preference, and of a conversation over another one, says `of` which lineage that is.

        `versions` are those of sources, by name: what a check compares with is `held` in the entry, and in
        its name.
        """
        hashes: dict[str, CohortLineage] = {}
        for cohort in plan.cohorts:
            parent = plan.parent_of(cohort)
            of = None if parent is None else hashes[parent.name]["lineage"]
            hashes[cohort.name] = self._config_hash(plan, cohort, plan.fingerprint(cohort), of, versions)
        for pairs in plan.pair_cohorts:
            preference = plan.preference(pairs.name)
            of, fingerprint = hashes[preference.source]["lineage"], plan.pair_fingerprint(preference)
            hashes[pairs.name] = self._config_hash(plan, pairs, fingerprint, of, versions)
        return hashes

    def settings(self, plan: Plan) -> dict[str, str]:
        """A digest of how the models of each cohort and preference are set up: options and the versions of
        local engines, without what is a matter of pace or of where a service is, and the rules answers are
        judged by."""
        return {name: digests[0] for name, digests in self.binding(plan).items()}

    def binding(self, plan: Plan) -> dict[str, tuple[str, ...]]:
        """What `settings` gives and, for the losses of their runs, what versions before would have given."""
        return {
            cohort.name: tuple(
                digest([CURRENT.version, *(of[name] for name in _used(cohort))])[:16]
                for of in (self._set_up, self._set_up_before)
            )
            for cohort in (*plan.cohorts, *plan.pair_cohorts)
        }

    def _config_hash(
        self,
        plan: Plan,
        cohort: CohortPlan,
        fingerprint: str,
        of: str | None,
        versions: Mapping[str, str] | None,
    ) -> CohortLineage:
        models = {name: self[name].engine.identity.model_dump(mode="json") for name in _used(cohort)}
        # What a simulation makes up in place of functions is no sample of a run that calls them.
        made_up = self.where.everywhere == "simulated" and _calls_functions(cohort)
        inputs: list[Any] = [*([] if of is None else [of]), *(["simulated functions"] if made_up else [])]
        held = {name: (versions or {}).get(name, "") for name in _held(cohort)}
        # What is let through of the rows decides as well.
        inputs += [
            [name, version, [check.model_dump(mode="json") for check in plan.source(name).keep]]
            for name, version in held.items()
        ]
        config_hash = digest([fingerprint, models, *inputs])[:16]
        entry: CohortLineage = {"lineage": config_hash, "fingerprint": fingerprint, "models": models}
        if of is not None:
            entry["of"] = of
        if held:
            entry["held"] = held
        return entry

    async def ready(self, model: RunningModel) -> None:
        """Starts a model's engine when its first call is due: a run that the log can answer
        loads nothing.  Raises EngineError, to every caller alike."""
        starting = self._starting.get(id(model.engine))
        if starting is None:
            starting = self._starting[id(model.engine)] = asyncio.ensure_future(model.engine.start())
        if not starting.done():
            await asyncio.shield(starting)
        starting.result()

    @property
    def waiting_for(self) -> list[str]:
        """What is to be said of services that do not answer, and of models that take long over it."""
        writing = {
            model.name: at
            for model in self
            if isinstance(model.engine, Writer) and (at := model.engine.writing) is not None
        }
        silent: dict[int, tuple[list[str], Service, float]] = {}
        for model in self:
            silence = model.service.silence
            if silence is not None and silence >= WORTH_SAYING_S:
                silent.setdefault(id(model.service), ([], model.service, silence))[0].append(
                    f"`{model.name}`"
                )
        return [
            f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} not answered for "
            f"{spoken(silence)}{f' ({absence})' if (absence := service.absent) else ''}, waiting up to "
            f"{spoken(service.waits)}"
            for names, service, silence in silent.values()
        ] + [
            f"`{name}` is writing {answers:,} answer{'s' * (answers != 1)}, {tokens:,} tokens so far"
            for name, (answers, tokens) in writing.items()
        ]

    @property
    def loading(self) -> set[str]:
        """The names of the models whose engine is starting."""
        starting = {key for key, future in self._starting.items() if not future.done()}
        return {model.name for model in self if id(model.engine) in starting}

    async def close(self) -> None:
        """Closes every engine that was started or is starting; one that takes longer than CLOSE_S is
        left to the end of the process."""
        started = [engine for engine in self.engines if id(engine) in self._starting]
        closing = [asyncio.create_task(self._close(engine)) for engine in started]
        if closing:
            done, late = await asyncio.wait(closing, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in done:
                task.result()

    async def _close(self, engine: Engine) -> None:
        starting = self._starting[id(engine)]
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.exception()
        await engine.close()


def _used(cohort: CohortPlan) -> list[str]:
    """The names of the models that a cohort asks."""
    return sorted({str(step.model) for step in cohort.asking})


def _held(cohort: CohortPlan) -> list[str]:
    """The names of the sources that a cohort's checks compare with."""
    return sorted({check.against[0] for check in comparing(cohort.steps)})


def _calls_functions(cohort: CohortPlan) -> bool:
    checks = [*cohort.keep, *(check for step in cohort.steps for check in step.checks)]
    calls = [step.call for step in cohort.steps if step.call is not None]
    return any(check.source for check in checks) or any(call.source for call in calls)


def _set_up(spec: EngineSpec, engine: Engine) -> list[Any]:
    options = {name: value for name, value in spec.options.items() if name not in _BESIDE}
    version = [] if BACKENDS[spec.backend].hosted else [engine.version]
    return [spec.backend, spec.id, spec.revision, spec.adapter, *version, options]


def _set_up_before(spec: EngineSpec, engine: Engine) -> list[Any]:
    options = {name: value for name, value in spec.options.items() if name not in _PACE}
    place = [spec.backend, spec.id, spec.revision, spec.adapter, engine.version]
    return [*place, options, *(os.environ.get(name, "") for name in _ADDRESSES)]


def _moves(identity: ModelIdentity) -> bool:
    """Whether a name on the model hub is all that names a model's weights."""
    local = identity.backend in ("vllm", "transformers")
    return local and identity.revision is None and identity.weights is None


_MEANING = {
    "template": "prompts go as messages, so the exact tokens are not logged",
    "frozen": "weights cannot be proven frozen",
    "json": "JSON is only checked, not constrained",
    "tools": "it can call no tools",
    "logprobs": "there are no token probabilities",
    "embed": "there are no embeddings",
    "chat": "it is not known to chat",
}


def _is_limited(options: Mapping[str, Any]) -> bool:
    """Whether these options leave `max_tokens` in a request as it is."""
    laid_over = options.get("extra_body", {})
    return "max_tokens" not in options.get("omit", ()) and not any("tokens" in name for name in laid_over)


def _warnings(models: Sequence[ModelPlan], running: Mapping[str, RunningModel]) -> list[str]:
    """What is less than the recipe asks for, each said once for all models that it holds of."""
    simulated: list[str] = []
    moving: dict[str, list[str]] = {}
    poorer: dict[tuple[str, tuple[Capability, ...]], list[str]] = {}
    noted: dict[tuple[str, str], list[str]] = {}
    for model in models:
        if model.name not in running:
            continue
        engine = running[model.name].engine
        for note in getattr(engine, "notes", ()):
            noted.setdefault((str(engine.identity), note), []).append(model.name)
        if engine.identity.backend == "simulated":
            simulated.append(model.name)
        elif lacking := tuple(word for word in model.capabilities if word not in engine.capabilities):
            poorer.setdefault((str(engine.identity), lacking), []).append(model.name)
        if _moves(engine.identity) and "frozen" not in model.capabilities:
            moving.setdefault(str(engine.identity), []).append(model.name)
    warnings = []
    for place, names in moving.items():
        verb, whose = ("runs", "its") if len(names) == 1 else ("run", "their")
        warnings.append(
            f"{_listed(names)} {verb} on {place} without a revision: {whose} answers are kept under that "
            "name, whatever weights it stands for later; add @REVISION"
        )
    if simulated:
        verb, whose = ("is", "its") if len(simulated) == 1 else ("are", "their")
        warnings.append(f"{_listed(simulated)} {verb} simulated: {whose} answers are a simulation, not data")
    for (identity, lacking), names in poorer.items():
        verb = "runs" if len(names) == 1 else "run"
        meaning = "; ".join(_MEANING[word] for word in lacking)
        warnings.append(f"{_listed(names)} {verb} on {identity}, which lacks {', '.join(lacking)}: {meaning}")
    for (identity, note), names in noted.items():
        verb = "runs" if len(names) == 1 else "run"
        warnings.append(f"{_listed(names)} {verb} on {identity}: {note}, so that changes nothing")
    return warnings


def _listed(names: Sequence[str]) -> str:
    """`a`, `b` and `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def _limiter(engine: Engine, options: Mapping[str, Any]) -> Limiter:
    """A local engine gets twice what it can run, so that it always has the next call in hand."""
    return Limiter(
        engine.concurrency if engine.adaptive else 2 * engine.concurrency,
        adaptive=engine.adaptive,
        # Who says how many calls a service bears is believed, and cut short where it does not.
        start=options.get("concurrency", SLOW_START),
        requests_per_minute=options.get("requests_per_minute"),
        tokens_per_minute=options.get("tokens_per_minute"),
    )
