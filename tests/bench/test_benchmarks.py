"""The benchmarks themselves, at sizes that say only that they work."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import standalone
from bench.generate import Request, batches, known, stages
from bench.harness import Options, measured
from bench.orchestration import CELLS, Cell, contenders, crash, ideal_s, run_once
from bench.server import Server
from bench.shapes import TINY, build
from bench.vllm import _run
from tests.models.fixtures import needs
from tests.support import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def bench(*arguments: str, out: Path) -> dict[str, Any]:
    """Runs `python -m bench` and returns the results it wrote, by name."""
    command = [sys.executable, "-m", "bench", *arguments, "--out", str(out)]
    usage = measured(command, cwd=ROOT)
    assert usage.status == 0, usage.err
    return {path.stem: json.loads(path.read_text("utf-8")) for path in out.glob("*.json")}


# Orchestration ------------------------------------------------------------------------


def test_the_ideal_is_slots_or_the_chain() -> None:
    assert ideal_s(Cell("p4", 0.2), 1000, 0) == pytest.approx(4000 * 0.2 / 256)
    assert ideal_s(Cell("p4", 0.2), 1, 0) == pytest.approx(3 * 0.2)
    assert ideal_s(Cell("r1", 0.2), 2000, 200) == pytest.approx(2200 * 0.2 / 256)
    assert ideal_s(Cell("r1", 0.2), 1, 1) == pytest.approx(2 * 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Cell("p4", 0.02), Cell("r1", 0.02)], ids=str)
def test_every_contender_does_the_same_work(server: Server, cell: Cell, tmp_path: Path) -> None:
    needs("openai", "aiohttp")
    for contender in contenders()[:4]:
        found = run_once(contender, cell, 30, server, tmp_path)
        spoiled = server.stats()["spoiled"]
        assert found.calls == (120 if cell.workload == "p4" else 30 + spoiled), contender.name
        # The ideal is a bound: nothing is faster than the server's slots and the chain of calls.
        assert 1 <= found.span <= found.whole


@pytest.mark.slow
def test_a_killed_run_makes_no_committed_call_again(server: Server, tmp_path: Path) -> None:
    needs("openai", "aiohttp")
    found = crash(contenders()[0], CELLS[0], 40, server, tmp_path)
    assert found.finished
    assert found.before >= 80
    assert found.in_log is not None
    assert found.again["committed"] == 0
    assert sum(found.again.values()) == found.before - found.in_log


# The command --------------------------------------------------------------------------


def test_results_are_written_for_each_name(tmp_path: Path) -> None:
    found = bench("compile", "--quick", out=tmp_path)
    assert found.keys() == {"compile"}
    assert found["compile"]["size"] == "quick"
    assert found["compile"]["figures"]["compile_s"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("README.md", "compile.json", "compile.md", "compile.png"),
    }


@pytest.mark.slow
def test_log_and_memory_share_their_runs(tmp_path: Path) -> None:
    found = bench("log", "memory", "--quick", out=tmp_path)
    sizes = found["log"]["figures"]["sizes"]
    assert [size["rows"] for size in sizes] == [200]
    assert sizes[0]["events"] > 1000
    assert found["log"]["figures"]["append"]["events"] == sizes[0]["events"]
    assert found["memory"]["tables"][0]["rows"][0][1:3] == [100, 200]


def test_an_unknown_name_is_a_fault_of_usage(tmp_path: Path) -> None:
    usage = measured([sys.executable, "-m", "bench", "nonsense", "--out", str(tmp_path)], cwd=ROOT)
    assert usage.status == 2
    assert "no benchmark nonsense" in usage.err


def test_peers_are_listed_without_being_installed() -> None:
    usage = measured([sys.executable, "-m", "bench.peers"], cwd=ROOT).require()
    assert {line.split(":")[0] for line in usage.out.splitlines()} >= {"datatrove", "distilabel"}
    assert measured([sys.executable, "-m", "bench.peers", "install", "nonsense"], cwd=ROOT).status == 2


# Scripts of their own -----------------------------------------------------------------


def test_figures_become_tables() -> None:
    plain, grouped = standalone.tables(
        {
            "machine": "x",
            "texts": 10,
            "en": {"rate": 1.5, "each": {"length": 2}},
            "ar": {"rate": 2.5, "each": {"length": 3}},
        }
    )
    assert plain.rows == [("texts", 10)]
    assert grouped.columns == ("", "en", "ar")
    assert grouped.rows == [("rate", 1.5, 2.5), ("each: length", 2, 3)]


@pytest.mark.parametrize("name", sorted(standalone.SCRIPTS))
def test_a_script_runs_under_the_harness(name: str, tmp_path: Path) -> None:
    found = standalone.measure(name, Options(tmp_path, quick=True))
    assert found.headline
    assert any(table.rows for table in found.tables)


# vLLM ---------------------------------------------------------------------------------


def test_every_way_makes_every_call_once() -> None:
    steps = ("persona", "acknowledgment", "question", "answer")
    requests = [Request(sample, step, [], {}, 0) for sample in range(5) for step in steps]
    assert list(known(requests, 2)) == [requests]
    for way, parts in ((stages, 3), (batches, 9)):
        found = list(way(requests, 2))
        assert len(found) == parts
        assert sorted((r.sample, r.step) for part in found for r in part) == sorted(
            (r.sample, r.step) for r in requests
        )
    assert {r.sample for r in next(iter(batches(requests, 2)))} == {0, 1}


@pytest.mark.slow
def test_the_bound_makes_the_calls_of_the_run(tmp_path: Path) -> None:
    needs("vllm", "transformers")
    build(TINY, tmp_path / "model")
    shutil.copy(ROOT / "bench" / "recipes" / "chain.recipe", tmp_path)
    given = {"backend": "vllm", "id": str(tmp_path / "model"), **TINY.options(gpu=False)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    (tmp_path / "synth.toml").write_text("[models.base]\n" + "\n".join(lines), "utf-8")
    options = Options(tmp_path, quick=True)
    run, bound = (_run(way, tmp_path, 4, TINY.seats, options) for way in ("synth", "known"))
    for figure in ("requests", "prompt_tokens", "completion_tokens"):
        assert run[figure] == bound[figure] > 0
    assert 0 < bound["steps"] <= run["steps"]
