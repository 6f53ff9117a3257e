"""Documents into an index, and questions to it: seconds, memory and queries a second.

The documents are made of words drawn by Zipf's law, in passages of up to 220 words; the vectors are
random ones of 384 numbers, so what is measured is the index and not a model.  Each line is a process
of its own.

    python -m bench.suites.retrieval [--quick] [--full]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from bench.lib.harness import ROOT, Options, Unavailable, measured
from bench.lib.report import Report, Table, grid
from synth.base.extras import install
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.steps import CallPlan
from synth.runtime.engines.base import ModelIdentity
from synth.runtime.retrieval.index import Index, Query, open_index

TITLE = "Retrieval: an index over documents"
_WORDS = 220
_PASSAGES = 25
_DIMENSION = 384
_QUERIES = 400


class RandomVectors:
    """A text's vector is drawn for its hash: no model, and the same each time."""

    identity = ModelIdentity(backend="bench", id="random")
    variant = ""
    batch = 256
    concurrency = 1

    async def start(self) -> None:
        """There is nothing to load."""

    async def embed(self, texts: Sequence[str], purpose: str) -> Any:
        import numpy as np

        return [
            np.random.default_rng(int.from_bytes(sha256(text.encode()).digest()[:8], "big"))
            .standard_normal(_DIMENSION)
            .astype("f4")
            for text in texts
        ]

    async def close(self) -> None:
        """There is nothing to close."""


def write_documents(folder: Path, passages: int) -> None:
    """Markdown files of 25 sections, each a passage."""
    random = Random(1)
    words = [f"{random.choice('bcdgjklmnprst')}{random.choice('aiueo')}{n:x}" for n in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    total = [0.0]
    for weight in weights:
        total.append(total[-1] + weight)
    for number in range(passages // _PASSAGES):
        sampled = random.choices(words, cum_weights=total[1:], k=_PASSAGES * (_WORDS - 20))
        sections = [
            f"# Section {at}\n\n" + " ".join(sampled[at * (_WORDS - 20) : (at + 1) * (_WORDS - 20)]) + "."
            for at in range(_PASSAGES)
        ]
        path = folder / "docs" / f"part{number % 12}" / f"{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(sections), "utf-8")


def source(search: str) -> SourcePlan:
    return SourcePlan(
        name="docs",
        type="chunk",
        reader=CallPlan(name="folder", arguments={"path": "docs", "glob": "**/*.md"}),
        index=CallPlan(name="lancedb", arguments={"uri": "index", "search": search}),
    )


async def step(folder: Path, search: str, ask: bool) -> dict[str, Any]:
    """One ingestion, and with `ask` the queries after it."""
    index = open_index(source(search), folder, (), RandomVectors())
    try:
        began = time.perf_counter()
        report = await index.ingest()
        figures: dict[str, Any] = {"ingest_s": time.perf_counter() - began, "chunks": report.chunks}
        figures["new"] = report.new
        return {**figures, **(await questions(index) if ask else {})}
    finally:
        await index.close()


async def questions(index: Index) -> dict[str, float]:
    """Queries a second: one after another, all at once, and those asked before."""
    random = Random(2)
    drawn = [(await index.sample(1, seed=number))[0] for number in range(_QUERIES)]
    texts = [" ".join(random.sample(passage["text"].split(), 4)) for passage in drawn]
    rates = {}
    for name, work in (
        ("in_turn", lambda: in_turn(index, texts)),
        ("asked_before", lambda: index.retrieve_many([Query(text) for text in texts])),
        ("at_once", lambda: index.retrieve_many([Query(text, where="ordinal >= 0") for text in texts])),
    ):
        began = time.perf_counter()
        await work()
        rates[name] = len(texts) / (time.perf_counter() - began)
    return rates


async def in_turn(index: Index, texts: Sequence[str]) -> None:
    for text in texts:
        await index.retrieve(text)


def measure(options: Options) -> Report:
    """Raises Unavailable where LanceDB is not installed."""
    try:
        import lancedb  # noqa: F401
    except ImportError:
        raise Unavailable(f"lancedb is not installed: {install('retrieval')}") from None
    sizes: Sequence[int] = options.pick((100, 200), (2_500, 10_000), (2_500, 10_000, 100_000))
    ingested, asked = [], []
    figures: dict[str, Any] = {}
    for size in sizes:
        for search in ("text", "hybrid"):
            folder = options.work / f"{search}-{size}"
            shutil.rmtree(folder, ignore_errors=True)
            write_documents(folder, size)
            first, again = (child(folder, search, ask=False) for _ in range(2))
            seen = [round(run[key], 2) for run in (first, again) for key in ("ingest_s", "peak_mib")]
            ingested.append((size, search, *seen))
            figures[f"{search}-{size}"] = {"first": first, "again": again}
            if again["new"]:
                raise RuntimeError("a second ingestion found something to do")
    for search in ("text", "vector", "hybrid"):
        size = sizes[-1]
        folder = options.work / f"{'hybrid' if search == 'vector' else search}-{size}"
        rates = child(folder, search, ask=True)
        asked.append((search, *(round(rates[key]) for key in ("in_turn", "at_once", "asked_before"))))
        figures[f"queries-{search}"] = rates
    took = figures[f"text-{sizes[-1]}"]["first"]["ingest_s"]
    flat = (
        figures[f"text-{sizes[-1]}"]["first"]["peak_mib"] / figures[f"text-{sizes[0]}"]["first"]["peak_mib"]
    )
    return Report(
        TITLE,
        f"{sizes[-1]:,} passages are read, split and indexed by full text in {took:.1f} s; memory is "
        f"{flat:.2f} x that of {sizes[0]:,}.",
        [
            Table(
                "Ingestion, and a second one that finds nothing changed",
                ("passages", "search", "s", "peak MiB", "again s", "again peak MiB"),
                ingested,
            ),
            Table(
                f"Queries a second over {sizes[-1]:,} passages, top_k = 3",
                ("search", "in turn", "at once, filtered", "asked before"),
                asked,
            ),
        ],
        notes=[
            "Hybrid ingestion includes making and keeping random vectors of 384 numbers.",
            "Each query is of four words from a passage; a query's vector is made on the way.",
        ],
        figures=figures,
        packages=("lancedb", "pyarrow", "numpy"),
    )


def child(folder: Path, search: str, *, ask: bool) -> dict[str, Any]:
    """One step in a process of its own, with the most memory it took."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "bench.suites.retrieval",
        "--step",
        folder,
        search,
        "ask" if ask else "ingest",
    ]
    usage = measured(command, cwd=ROOT).require()
    return {**json.loads(usage.out), "peak_mib": usage.peak_mib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--full", action="store_true", help="the largest size too, which takes minutes")
    parser.add_argument("--step", nargs=3, metavar=("FOLDER", "SEARCH", "WHAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        folder, search, what = arguments.step
        print(json.dumps(asyncio.run(step(Path(folder), search, what == "ask"))))
        return
    work = ROOT / "build" / "bench" / "retrieval"
    report = measure(Options(work, quick=arguments.quick, full=arguments.full))
    print(report.headline, *(f"{table.title}\n\n{grid(table)}" for table in report.tables), sep="\n\n")


if __name__ == "__main__":
    main()
