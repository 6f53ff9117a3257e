"""The benchmarks themselves, at sizes that say only that they work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import run
from bench.lib import standalone
from bench.lib.generate import Request, batches, best_cached, known, stages
from bench.lib.harness import Options, Unavailable, measured
from bench.lib.rows import table
from bench.lib.server import Server
from bench.lib.shapes import TINY, build, tokenizer, vocabulary
from bench.suites.orchestration import CELLS, Cell, contenders, crash, ideal_s, run_once
from bench.suites.vllm import _models, generate
from tests.kit.models.fixtures import needs
from tests.kit.support import ROOT


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
        result = run_once(contender, cell, 30, server, tmp_path)
        spoiled = server.stats()["spoiled"]
        assert result.calls == (120 if cell.workload == "p4" else 30 + spoiled), contender.name
        # The ideal is a bound: nothing is faster than the server's slots and the chain of calls.
        assert 1 <= result.span <= result.whole


@pytest.mark.slow
def test_a_killed_run_makes_no_committed_call_again(server: Server, tmp_path: Path) -> None:
    needs("openai", "aiohttp")
    crashed = crash(contenders()[0], CELLS[0], 40, server, tmp_path)
    assert crashed.finished
    assert crashed.before >= 80
    assert crashed.in_log is not None
    assert crashed.again["committed"] == 0
    assert sum(crashed.again.values()) == crashed.before - crashed.in_log


# The command --------------------------------------------------------------------------


def test_results_are_written_for_each_name(tmp_path: Path) -> None:
    results = bench("compile", "--quick", out=tmp_path)
    assert results.keys() == {"compile"}
    assert results["compile"]["size"] == "quick"
    assert results["compile"]["figures"]["compile_s"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("README.md", "compile.json", "compile.md", "compile.png"),
    }


@pytest.mark.slow
@pytest.mark.soak
def test_log_and_memory_share_their_runs(tmp_path: Path) -> None:
    results = bench("log", "memory", "--quick", out=tmp_path)
    sizes = results["log"]["figures"]["sizes"]
    assert [size["rows"] for size in sizes] == [200]
    assert sizes[0]["events"] > 1000
    assert results["log"]["figures"]["append"]["events"] == sizes[0]["events"]
    assert results["memory"]["tables"][0]["rows"][0][1:3] == [100, 200]


@pytest.mark.slow
@pytest.mark.soak
def test_rows_are_measured_beside_what_they_are_compared_with(tmp_path: Path) -> None:
    figures = bench("rows", "--quick", out=tmp_path)["rows"]["figures"]
    assert [row["rows"] for row in figures["ingest"]] == [300]
    assert figures["many"]["first_s"] > 0
    assert {row["calls"] for row in figures["mapped"]} == {200}
    assert {row["name"] for row in figures["mapped"]} >= {"synth run", "aiohttp loop"}
    assert [(row["calls"], row["ratio"] > 0) for row in figures["rounds"]] == [(180, True)]


def test_a_table_is_the_same_for_the_same_number(tmp_path: Path) -> None:
    first, second = (table(tmp_path / name, 50).read_bytes() for name in ("a.jsonl", "b.jsonl"))
    assert first == second
    assert len(first) / 50 == pytest.approx(1000, rel=0.1)


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
    report = standalone.measure(name, Options(tmp_path, quick=True))
    assert report.headline
    assert any(table.rows for table in report.tables)


# vLLM ---------------------------------------------------------------------------------


def test_every_way_makes_every_call_once() -> None:
    steps = ("persona", "acknowledgment", "question", "answer")
    requests = [
        Request(4 * sample + place, sample, step, [], {}, 0)
        for sample in range(5)
        for place, step in enumerate(steps)
    ]
    assert list(known(requests, 2)) == [requests]
    for way, parts in ((stages, 3), (batches, 9)):
        ordered = list(way(requests, 2))
        assert len(ordered) == parts
        assert sorted(r.number for part in ordered for r in part) == list(range(20))
    assert {r.sample for r in next(iter(batches(requests, 2)))} == {0, 1}


@pytest.mark.parametrize(
    ("calls", "cached"),
    [
        # The last token of a prompt is computed, so four that are known give one block of two.
        ([("abcd", "x"), ("abcd", "y")], 2),
        ([("abcde", "x"), ("abcde", "y")], 4),
        ([("abcde", "x"), ("abXde", "y"), ("Xbcde", "z")], 2),
        # An answer is in the next prompt of its conversation, save for its last token.
        ([("abc", "defg"), ("abcdefgh", "")], 6),
        ([("abc", "def"), ("abcdefgh", "")], 4),
        ([], 0),
    ],
)
def test_the_best_that_a_prefix_cache_can_do(calls: list[tuple[str, str]], cached: int) -> None:
    pairs = [([*map(ord, prompt)], [*map(ord, answer)]) for prompt, answer in calls]
    assert best_cached(pairs, 2) == cached


def test_no_word_of_the_recipe_is_unknown() -> None:
    words = vocabulary(TINY)
    assert len(words) == len(set(words)) == TINY.vocabulary
    recipe = (ROOT / "bench" / "recipes" / "chain.recipe").read_text("utf-8")
    prompt = recipe[recipe.index("Invent") : recipe.index("{{ world.about")]
    unknown = words.index("<unk>")
    assert unknown not in tokenizer(words).backend_tokenizer.encode(prompt, add_special_tokens=False).ids


@pytest.mark.soak
def test_the_bound_makes_the_calls_of_the_run(tmp_path: Path) -> None:
    needs("vllm", "transformers")
    build(TINY, tmp_path / "model")
    shutil.copy(ROOT / "bench" / "recipes" / "chain.recipe", tmp_path)
    settings = {"backend": "vllm", "id": str(tmp_path / "model"), **TINY.options(gpu=False)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "synth.toml").write_text("[models.base]\n" + "\n".join(lines), "utf-8")
    options, load = Options(tmp_path, quick=True), (4, TINY.seats, TINY.longest)
    ours = generate(["synth"], tmp_path, load, options)["synth"]
    bound, staged = generate(["known", "stages"], tmp_path, load, options).values()
    for figure in ("requests", "prompt_tokens", "completion_tokens"):
        assert ours[figure] == bound[figure] == staged[figure] > 0
    assert 0 < bound["steps"] <= ours["steps"] <= staged["steps"]
    assert ours["cached_tokens"] <= bound["best_cached_tokens"] == staged["best_cached_tokens"]


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `nvidia-smi` that reports a GPU of 20 GiB, half busy; only vLLM knows better."""
    if sys.platform == "win32":
        pytest.skip("the script needs a shell")
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text(
        """#!/bin/sh
case "$*" in
*memory.total,driver_version*) echo "Rehearsal GPU, 20480 MiB, 1.0" ;;
*memory.total*) echo 20480 ;;
*) while echo 50; do sleep 0.05; done ;;
esac
""",
        "utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")


def test_the_shapes_that_fit_a_gpu_are_measured(gpu: None, tmp_path: Path) -> None:
    fitting = [shape.name for shape in _models(Options(tmp_path, gpu=True))]
    assert fitting == ["gemma-3-1b", "gemma-3-4b"]
    assert [shape.name for shape in _models(Options(tmp_path, gpu=True, quick=True))] == fitting[:1]


def test_without_a_gpu_its_sizes_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="there is no GPU"):
        _models(Options(tmp_path, gpu=True))


@pytest.mark.soak
def test_the_gpu_benchmark_runs_from_end_to_end(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shape that a CPU can bear in the place of Gemma's."""
    needs("vllm", "transformers", "matplotlib")
    small = replace(TINY, name="gemma-3-tiny", samples=12, seats=4)
    monkeypatch.setattr("bench.suites.vllm.GEMMAS", (small,))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    run("vllm", Options(tmp_path / "work", quick=True, gpu=True), "quick", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "vllm.json").read_text("utf-8"))
    assert written["machine"]["gpu"] == "Rehearsal GPU, 20480 MiB, 1.0"
    assert "torch" in written["versions"]
    (model,) = written["figures"]["models"]
    assert model["ways"].keys() == {"synth", "known", "stages", "batches"}
    for way in model["ways"].values():
        assert way["gpu_mean"] == 50
        assert all(0 <= at <= way["seconds"] for at, _ in way["gpu"])
    assert written["headline"].startswith("gemma-3-tiny: ")
    assert "the GPU busy 50% of the time" in written["headline"]
    page = (tmp_path / "out" / "vllm.md").read_text("utf-8")
    assert "GPU busy %" in page
    assert (tmp_path / "out" / "vllm.png").stat().st_size > 10_000


# The script for a GPU ------------------------------------------------------------------


def gpu_script(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs bench/gpu.sh with an interpreter that installs and measures nothing, but writes down what
    it was asked for."""
    asked, python = folder / "asked", folder / "python"
    python.write_text(
        f"""#!/bin/sh
case "$1 $2" in
"-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
"-m "*)
    echo "$@ [${{PIP_NO_INDEX:-}} ${{PIP_FIND_LINKS:-}}]" >> "{asked}"
    while [ $# -gt 0 ]; do
        case "$1" in -r) cp "$2" "{folder}/needed" ;; -c) cp "$2" "{folder}/kept" ;; esac
        shift
    done ;;
*sysconfig*) echo "{folder}" ;;
*is_available*) exit "${{NO_CUDA:-0}}" ;;
*) exec "{sys.executable}" "$@" ;;
esac
""",
        "utf-8",
    )
    python.chmod(0o755)
    variables = {"PYTHON": str(python), "VENV": str(folder / "venv"), **env}
    around = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        ["bash", str(ROOT / "bench" / "gpu.sh"), *arguments],
        env={**around, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_gpu_script_installs_and_measures(gpu: None, tmp_path: Path) -> None:
    done = gpu_script(tmp_path, str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "Rehearsal GPU" in done.stdout
    install, project, quick, full = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert install.startswith("-m pip install -r ")
    assert install.endswith("[ ]")
    assert "--no-deps" in project
    assert quick == "-m bench vllm --gpu --quick --out build/gpu-quick [ ]"
    assert full == f"-m bench vllm --gpu --out {tmp_path / 'out'} [ ]"
    needed = (tmp_path / "needed").read_text("utf-8").split()
    assert {"vllm>=0.26", "editables"} < set(needed)
    assert any(name.startswith("duckdb") for name in needed)
    kept = (tmp_path / "kept").read_text("utf-8").strip()
    assert kept == (f"torch=={version('torch').partition('+')[0]}" if find_spec("torch") else "")
    assert (tmp_path / "gpu-parent.pth").read_text("utf-8").strip()


def test_the_gpu_script_installs_from_a_folder(gpu: None, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    done = gpu_script(tmp_path, str(tmp_path / "out"), WHEELS=str(tmp_path / "wheels"))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert all(line.endswith(f"[1 {tmp_path / 'wheels'}]") for line in lines)


def test_the_gpu_script_fills_a_folder_without_a_gpu(tmp_path: Path) -> None:
    done = gpu_script(tmp_path, "--wheels", str(tmp_path / "wheels"))
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert line.startswith(f"-m pip download --dest {tmp_path / 'wheels'} -r ")


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"WHEELS": "/no/such/folder"}, "finds no folder /no/such/folder"),
        ({"NO_CUDA": "1"}, "has a PyTorch that finds no GPU"),
    ],
)
def test_what_the_gpu_script_cannot_do_is_one_sentence(
    gpu: None, tmp_path: Path, env: dict[str, str], sentence: str
) -> None:
    done = gpu_script(tmp_path, **env)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_the_gpu_script_needs_a_gpu(tmp_path: Path) -> None:
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\nexit 9\n", "utf-8")
    broken.chmod(0o755)
    done = gpu_script(tmp_path, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr == "bench/gpu.sh needs an NVIDIA GPU and its driver: nvidia-smi finds none\n"
    assert not (tmp_path / "asked").exists()
