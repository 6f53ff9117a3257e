"""Measurements that need a process to themselves: `python -m bench.lib.probes NAME ARGUMENT...` prints
JSON.  Each function is one of them; paths are those of a log or a folder."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from synth.runtime.events.recorder import BATCH_EVENTS
from synth.store.log.events import Event

_BLOCK = 1 << 20
_COLUMNS = (
    *("seq", "run_id", "ts_us", "sample_id", "step", "attempt", "model"),
    *("prompt_tokens", "completion_tokens", "latency_ms"),
)


def append(source: str, target: str, count: str, kind: str = "") -> dict[str, Any]:
    """Appends the first events of a log to a new one, full batches, each of them durable; with a `kind`
    those alone, whose payloads are texts as those of rows are."""
    from synth.store.log.events import EncodedPayload, Event, Kind
    from synth.store.log.log import Log

    with Log(Path(source), deep=False) as opened:
        rows = opened.cursor().execute(
            f"""SELECT kind, payload, {", ".join(_COLUMNS)} FROM events WHERE ? IN ('', kind)
                ORDER BY seq LIMIT ?""",
            [kind, int(count)],
        )
        events = [
            Event(
                kind=Kind(name),
                payload=EncodedPayload(payload) if kind else json.loads(payload),
                **dict(zip(_COLUMNS, [seq, *rest], strict=True)),
            )
            for seq, (name, payload, _, *rest) in enumerate(rows.fetchall())
        ]
    batches = [events[at : at + BATCH_EVENTS] for at in range(0, len(events), BATCH_EVENTS)]
    walls, began, cpu = [], time.perf_counter(), time.process_time()
    with Log(Path(target), writer=True) as log:
        for batch in batches:
            at = time.perf_counter()
            log.append(batch)
            walls.append(time.perf_counter() - at)
        appended, spent = time.perf_counter() - began, time.process_time() - cpu
    return {
        "events": len(events),
        "seconds": appended,
        "close_s": time.perf_counter() - began - appended,
        "cpu_s": spent,
        "median_ms": statistics.median(walls) * 1e3,
        "worst_ms": max(walls) * 1e3,
        "worst_99_ms": sorted(walls)[int(len(walls) * 0.99)] * 1e3,
        "bytes": os.path.getsize(target),
    }


def share(recipe: str, folder: str, samples: str, log: str) -> dict[str, Any]:
    """Runs a recipe in a folder, simulated as the `synth.toml` beside it says, and adds up the time in
    the log; with `log` "off", events are counted and thrown away instead of being appended."""
    import synth
    from synth.store.log.log import Log

    os.chdir(folder)
    plan = synth.compile(recipe, conversations=samples)
    spent = {"wall_s": 0.0, "cpu_s": 0.0, "batches": 0.0}
    plain = Log.append

    def forget(self: Log, *batches: Sequence[Event]) -> None:
        self.next_seq += sum(map(len, batches))

    into = plain if log == "on" else forget

    def append(self: Log, *batches: Sequence[Event]) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        into(self, *batches)
        spent["wall_s"] += time.perf_counter() - wall
        spent["cpu_s"] += time.thread_time() - cpu
        spent["batches"] += len(batches)

    Log.append = append  # type: ignore[method-assign]
    began = time.process_time()
    report = synth.run(plan, log=f"{log}.duckdb", backend="simulated")
    used = time.process_time() - began
    calls = sum(step["issued"] for step in report.counts["steps"])
    return {"seconds": report.seconds, "used_s": used, "calls": calls, **spent}


def wide(recipe: str, folder: str, samples: str, calls: str) -> dict[str, Any]:
    """Runs a recipe with so many calls open at once, each of half a second, and looks at
    how old each batch's first event is once it is durable."""
    import synth
    from synth.store.log.log import Log

    Path(folder).mkdir(exist_ok=True)
    os.chdir(folder)
    plan = synth.compile(recipe, conversations=samples)
    ages, sizes = list[float](), list[int]()
    plain = Log.append

    def append(self: Log, *batches: Sequence[Event]) -> None:
        plain(self, *batches)
        for events in batches:
            ages.append(time.time() - events[0].ts_us / 1e6)
            sizes.append(len(events))

    Log.append = append  # type: ignore[method-assign]
    models = {"base": synth.Simulated(latency=0.5, concurrency=int(calls))}
    report = synth.run(plan, log=f"{samples}-{calls}.duckdb", models=models)
    return {
        "calls": int(calls),
        "samples": int(samples),
        "events": sum(sizes),
        "largest": max(sizes),
        "median_s": statistics.median(ages),
        "oldest_s": max(ages),
        "seconds": report.seconds,
    }


def opening(path: str) -> dict[str, Any]:
    """Opens a log as a run does, and without hashing every event again."""
    from synth.store.log.log import Log

    Log(Path(path), deep=False).close()
    times = {}
    for name, deep in (("shallow_s", False), ("deep_s", True)):
        began = time.perf_counter()
        Log(Path(path), deep=deep).close()
        times[name] = time.perf_counter() - began
    return times


def materialize(recipe: str, samples: str, path: str, out: str) -> dict[str, Any]:
    """Writes a recipe's datasets, a phase at a time."""
    import synth
    from synth.store.dataset.materialize import materialize
    from synth.store.log.log import Log

    plan = synth.compile(recipe, conversations=samples)
    began = time.perf_counter()
    with Log(Path(path)) as log:
        opened = time.perf_counter()
        datasets = materialize(plan, log, Path(out))
        done = time.perf_counter()
    files = [dataset.folder / name for dataset in datasets for name in dataset.manifest["files"]]
    return {
        "open_s": opened - began,
        "materialize_s": done - opened,
        "rows": sum(sum(dataset.rows.values()) for dataset in datasets),
        "bytes": sum(file.stat().st_size for file in files),
        "peak_mib": _peak_mib(),
    }


def bare(path: str, out: str) -> dict[str, Any]:
    """What DuckDB alone takes for the same columns: every sample's values in order as JSON lines,
    and who made the calls."""
    import duckdb

    with duckdb.connect(path, read_only=True) as connection:
        began = time.perf_counter()
        connection.execute(
            f"""COPY (SELECT sample_id, payload -> 'cell' AS cell, payload -> 'values' AS said
                FROM events WHERE kind = 'sample.completed' ORDER BY seq) TO '{out}' (FORMAT json)"""
        )
        rows = time.perf_counter()
        connection.execute(
            """SELECT step, payload -> 'identity', payload ->> 'engine', count(*)
               FROM events WHERE kind = 'call.completed' GROUP BY ALL"""
        ).fetchall()
        return {
            "rows_s": rows - began,
            "seconds": time.perf_counter() - began,
            "bytes": os.path.getsize(out),
            "peak_mib": _peak_mib(),
        }


def ingest(recipe: str, target: str) -> dict[str, Any]:
    """Reads the rows of a recipe's sources and logs them."""
    import asyncio

    import synth
    from synth.runtime.events.recorder import Recorder
    from synth.runtime.sources.ingest import ingest_sources
    from synth.store.log.log import Log

    plan = synth.compile(recipe)

    async def read(log: Log) -> int:
        recorder = Recorder(log, "bench")
        try:
            ingested = await ingest_sources(plan, log, recorder)
        finally:
            await recorder.close()
        return sum(source.rows for source in ingested.values())

    with Log(Path(target), writer=True) as log:
        began = time.perf_counter()
        rows = asyncio.run(read(log))
        return {"rows": rows, "seconds": time.perf_counter() - began, "peak_mib": _peak_mib()}


def read_rows(path: str) -> dict[str, Any]:
    """What DuckDB alone takes to read a file of rows and add up their texts."""
    import duckdb

    began = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute("SELECT count(*), sum(length(body)) FROM read_json(?)", [path]).fetchall()
    return {"seconds": time.perf_counter() - began, "peak_mib": _peak_mib()}


def disk(folder: str, mib: str) -> dict[str, Any]:
    """Writes zeros-free blocks to a file, flushed to the disk at the end."""
    block, path = os.urandom(_BLOCK), Path(folder) / "blocks"
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(int(mib)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return {"mib_s": int(mib) / took}


def _peak_mib() -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    probe.__name__: probe
    for probe in (append, share, wide, opening, materialize, bare, ingest, read_rows, disk)
}


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))
