"""Passages for samples: from the log when they are there, else from an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.base.canonical import canonical_json, digest
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.model import Plan, SourcePlan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.stdlib.checks.reasons import ends
from synth.compiler.stdlib.folds import looks_up
from synth.runtime.engines.base import EngineSpec
from synth.runtime.events.budget import RunBudget
from synth.runtime.events.progress import Progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.service.patience import Patience
from synth.runtime.settings import Settings
from synth.store.log.events import Kind
from synth.store.log.past.logged import LoggedLookup, LoggedSample
from synth.store.log.payloads import IndexNote, RetrievalDone
from synth.store.log.source_payloads import DocumentsCompleted

if TYPE_CHECKING:
    from synth.runtime.retrieval.embedders import Embedder
    from synth.runtime.retrieval.index import Index
    from synth.runtime.retrieval.ingest import IngestReport

Passages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LookUp:
    """One look for passages, for one sample: the function's arguments as they are in it.  `seed`
    decides what is drawn where something is."""

    sample_id: str
    step: StepPlan
    arguments: Mapping[str, Any]
    seed: int
    earlier: LoggedSample

    @property
    def function(self) -> str:
        assert self.step.call is not None, "only a call looks anything up"
        return self.step.call.name

    @property
    def key(self) -> str:
        """sha256 of what is asked for, in hex; what the source holds has no part in it."""
        return digest([self.function, self.arguments, self.seed])

    @property
    def known(self) -> LoggedLookup | None:
        return self.earlier.lookups.get(self.key)


class Indexes:
    """The indexes of the sources that a plan looks anything up in.

    `patience`, in seconds, goes before that of each embedder.  Making one reads nothing.  Raises
    ConfigError or EngineError for what cannot be used.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        allowed: Sequence[Path] = (),
        patience: float | None = None,
    ) -> None:
        self._indexes: dict[str, Index] = {}
        # The sources whose passages a hosted model embeds, which costs what nobody counts here.
        self.hosted: list[str] = []
        if not _asked(plan):
            return
        from synth.runtime.retrieval.index import open_index

        for source in plan.sources:
            if source.type == "chunk" and source.name in _asked(plan):
                if settings.everywhere == "simulated":
                    source = _simulated(source)
                embedder = _embedder(plan, settings, source)
                if _hosted(plan, settings, source):
                    self.hosted.append(source.name)
                index = open_index(source, plan.folder, allowed, embedder)
                index.patience = Patience.of(patience, _patience(plan, settings, source))
                self._indexes[source.name] = index

    def attend(self, stop: RunBudget) -> None:
        """Has what the indexes wait for end with a run."""
        for index in self._indexes.values():
            index.stop = stop

    @property
    def waiting_for(self) -> list[str]:
        """What is to be said of embedders that do not answer."""
        return [sentence for index in self._indexes.values() for sentence in index.waiting_for]

    async def ingest(self, progress: Progress) -> dict[str, IngestReport]:
        """Brings every index up to date, by source, and says on `progress` how far that is.
        Raises ConfigError or EngineError."""
        reports = {}
        for name, index in self._indexes.items():

            def on_progress(done: int, total: int | None, name: str = name) -> None:
                progress.preparing = f"`{name}`: {done:,} of {total or done:,} passages embedded"

            progress.preparing = f"`{name}`: reading documents"
            reports[name] = await index.ingest(on_progress)
        progress.preparing = ""
        return reports

    def digest(self, source: str) -> str:
        """What names the content of a source's index, once it is up to date."""
        return self._indexes[source].digest

    async def look_up(self, lookup: LookUp, recorder: Recorder) -> Passages:
        """The passages for a sample, recorded.  Raises RetrievalShort, and BadFilter."""
        from synth.runtime.retrieval.errors import RetrievalShort

        arguments = dict(lookup.arguments)
        index = self._indexes[str(arguments.pop("source"))]
        known = lookup.known
        if known is not None and known.digest == index.digest:
            return known.passages
        if lookup.function == "retrieve":
            try:
                passages = await index.retrieve(
                    _text(arguments["query"]),
                    int(arguments["top_k"]),
                    ends(arguments.get("documents") or (None, None)),
                    _where(arguments),
                    variety=lookup.seed if arguments.get("pick") == "varied" else None,
                )
            except RetrievalShort:
                # A question that an evaluation asks is put even where no passage is about it.
                if not arguments.get("or_none"):
                    raise
                passages = []
        else:
            about = arguments.get("about")
            passages = await index.sample(
                int(arguments["count"]),
                _text(about) if about is not None else None,
                lookup.seed,
                _where(arguments),
            )
        await recorder.room()
        recorder.emit(
            Kind.RETRIEVAL_DONE,
            RetrievalDone(
                key=lookup.key,
                source=index.name,
                function=lookup.function,
                arguments=dict(lookup.arguments),
                index=IndexNote(version=index.version, digest=index.digest),
                chunks=passages,
            ),
            sample_id=lookup.sample_id,
            step=lookup.step.name,
        )
        return passages

    async def close(self) -> None:
        for index in self._indexes.values():
            await index.close()


def record(reports: Mapping[str, IngestReport], recorder: Recorder) -> None:
    """Logs what of the indexes is new."""
    for name, report in reports.items():
        if report.new or report.removed:
            recorder.emit(
                Kind.SOURCE_COMPLETED,
                DocumentsCompleted(
                    source=name,
                    version=report.digest,
                    index=report.version,
                    documents=report.documents,
                    rows=report.chunks,
                    shape="chunk",
                    warnings=list(report.warnings),
                ),
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _where(arguments: Mapping[str, Any]) -> str | None:
    where = arguments.get("where")
    return None if where is None else _text(where)


def _asked(plan: Plan) -> set[str]:
    steps = [step for cohort in (*plan.cohorts, *plan.pair_cohorts) for step in cohort.steps]
    calls = [step.call for step in steps if step.call is not None]
    return {str(call.arguments["source"]) for call in calls if looks_up(call)}


def _embedder(plan: Plan, settings: Settings, source: SourcePlan) -> Embedder | None:
    from synth.runtime.retrieval.embedders import open_embedder

    arguments = source.index.arguments if source.index is not None else {}
    if arguments.get("search", "text") == "text":
        return None
    name = arguments.get("embedder")
    if name is not None:
        return open_embedder(settings.spec(plan.model(str(name))))
    if settings.everywhere == "simulated":
        return open_embedder(EngineSpec("embedder", "simulated", ""))
    return None


def _patience(plan: Plan, settings: Settings, source: SourcePlan) -> float | None:
    """How long a source's embedder is waited for, in seconds; None where nobody says."""
    name = source.index.arguments.get("embedder") if source.index is not None else None
    options = {} if name is None else settings.spec(plan.model(str(name))).options
    return options.get("patience")


def _hosted(plan: Plan, settings: Settings, source: SourcePlan) -> bool:
    arguments = source.index.arguments if source.index is not None else {}
    name = arguments.get("embedder") if arguments.get("search", "text") != "text" else None
    return name is not None and BACKENDS[settings.spec(plan.model(str(name))).backend].hosted


def _simulated(source: SourcePlan) -> SourcePlan:
    """The source with an index of its own for a simulation, whose vectors are none."""
    if source.index is None:
        return source
    arguments = {**source.index.arguments, "uri": f"{source.index.arguments['uri']}.simulation"}
    return source.model_copy(update={"index": source.index.model_copy(update={"arguments": arguments})})
