"""Indexes over folders made for a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.steps import CallPlan, CheckPlan
from synth.runtime.engines.base import EngineSpec, ModelIdentity
from synth.runtime.retrieval.embedders import Embedder, open_embedder
from synth.runtime.retrieval.embedders.base import Purpose, Vectors
from synth.runtime.retrieval.index import Index, open_index

Result = TypeVar("Result")

UNIVERSITY = {
    "synth.toml": "",
    "docs/biaya/s1.md": "# Biaya kuliah\n\nBiaya S1 lima juta rupiah per semester.",
    "docs/biaya/cicilan.md": "---\nyear: 2024\n---\n# Cicilan\n\nBiaya dapat dicicil tiga kali.",
    "docs/asrama/kamar.md": "---\nyear: 2023\nopen: true\n---\n# Asrama\n\nKamar aman dan bersih.",
    "docs/beasiswa/tahfidz.md": "# Beasiswa\n\nPenghafal Quran bebas biaya.",
    "docs/umum.md": "---\nunit: o'brien\n---\nKampus di Wonosobo. أَنَا هيثم من الرياض",
}


def source(
    search: str = "text",
    *,
    name: str = "docs",
    path: str = "docs",
    glob: str = "**/*",
    uri: str | None = "index/docs",
    split: CallPlan | None = None,
    keep: Sequence[CheckPlan] = (),
) -> SourcePlan:
    index = CallPlan(name="lancedb", arguments={"uri": uri, "search": search}) if uri else None
    reader = CallPlan(name="folder", arguments={"path": path, "glob": glob})
    return SourcePlan(name=name, type="chunk", reader=reader, split=split, index=index, keep=tuple(keep))


def simulated() -> Embedder:
    return open_embedder(EngineSpec("embedder", "simulated", ""))


class Counting:
    """The simulated embedder, with a record of what it was asked, and faults on demand."""

    variant = ""
    batch = 4
    concurrency = 2

    def __init__(
        self, name: str = "counting", fault: Callable[[int], Exception | None] | None = None
    ) -> None:
        self.identity = ModelIdentity(backend="test", id=name)
        self.asked: list[list[str]] = []
        self.started = 0
        self.closed = 0
        self._fault = fault
        self._inner = simulated()

    @property
    def texts(self) -> list[str]:
        return [text for texts in self.asked for text in texts]

    async def start(self) -> None:
        self.started += 1

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.asked.append(list(texts))
        if self._fault is not None and (fault := self._fault(len(self.asked))) is not None:
            raise fault
        await asyncio.sleep(0)
        return await self._inner.embed(texts, purpose)

    async def close(self) -> None:
        self.closed += 1


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


def with_index(
    folder: Path,
    plan: SourcePlan,
    work: Callable[[Index], Awaitable[Result]],
    embedder: Embedder | None = None,
    allowed: Sequence[Path] = (),
) -> Result:
    """What some work with an index gives; the index is closed afterwards."""

    async def go() -> Result:
        index = open_index(plan, folder, allowed, embedder)
        try:
            return await work(index)
        finally:
            await index.close()

    return asyncio.run(go())


def ingest(folder: Path, plan: SourcePlan, embedder: Embedder | None = None) -> Any:
    """The report of an ingestion in an index that is opened for it."""
    return with_index(folder, plan, lambda index: index.ingest(), embedder)


def ask(
    folder: Path, plan: SourcePlan, query: str, embedder: Embedder | None = None, **arguments: Any
) -> list[dict[str, Any]]:
    """What an index that is brought up to date retrieves."""

    async def go(index: Index) -> list[dict[str, Any]]:
        await index.ingest()
        return await index.retrieve(query, **arguments)

    return with_index(folder, plan, go, embedder)


def corpus(count: int, words: int = 120) -> Mapping[str, str]:
    """Documents with two passages each, out of few words, so that many scores are equal."""
    vocabulary = [f"kata{number}" for number in range(60)]
    files = {"synth.toml": ""}
    for number in range(count):
        sequence = [vocabulary[(number * 7 + at * (1 + number % 5)) % 60] for at in range(2 * words)]
        files[f"docs/f{number % 4}/d{number:04}.md"] = (
            f"# Satu\n\n{' '.join(sequence[:words])}\n\n# Dua\n\n{' '.join(sequence[words:])}\n"
        )
    return files


def rows(folder: Path, name: str = "docs") -> dict[str, dict[str, Any]]:
    """What a table holds, by id."""
    import lancedb

    held = lancedb.connect(folder / "index" / "docs").open_table(name).to_arrow().to_pylist()
    assert len({row["id"] for row in held}) == len(held)
    return {row["id"]: row for row in held}
