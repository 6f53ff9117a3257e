"""A notebook, run by Jupyter's own client and kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.support import QUICKSTART, ROOT

CELLS = [
    f"import synth\nplan = synth.compile({str(QUICKSTART)!r}, conversations=40)\nplan",
    "models = {'base': synth.Simulated(latency=0.05, concurrency=4)}\n"
    "report = synth.run(plan, log='nb.duckdb', models=models)\n"
    "report",
    '(dataset,) = synth.materialize(plan, log="nb.duckdb")\ndataset',
    "next(iter(dataset))['prompt'][0]['role'], synth.replay(plan, log='nb.duckdb').same",
    'synth.compile("bad.recipe")',
    # A Ctrl-C, as the button of a notebook sends it to its kernel.
    "import os, signal, threading, time\n"
    "def interrupt():\n"
    "    while not os.path.exists('nb.duckdb.progress.json'):\n"
    "        time.sleep(0.01)\n"
    "    os.kill(os.getpid(), signal.SIGINT)\n"
    "os.unlink('nb.duckdb.progress.json')\n"
    "threading.Thread(target=interrupt).start()\n"
    "slow = {'base': synth.Simulated('slow', latency=0.05, concurrency=4)}\n"
    f"synth.run(synth.compile({str(QUICKSTART)!r}, conversations=400), log='nb.duckdb', models=slow)",
]


@pytest.mark.slow
def test_a_notebook_runs_the_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "bad.recipe").write_text(QUICKSTART.read_text("utf-8").replace("by base {", "by bsae {", 1))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    planned, ran, made, read, faulty, interrupted = (cell["outputs"] for cell in notebook.cells)

    assert "<td" in _data(planned)["text/html"]
    assert _data(planned)["text/plain"] == "<Plan quickstart: identity 40; 80 calls without retries>"
    # One line of progress, replaced as it went on and left as it ended; then the table.
    (line,) = [each["data"]["text/plain"] for each in ran if each["output_type"] == "display_data"]
    assert "identity 40/40, identity.acknowledgment 40 (" in line
    assert "identity.answer</td>" in _data(ran)["text/html"]
    assert _data(ran)["text/plain"].startswith("<RunReport finished: identity 40 of 40; 80 calls in ")
    told = "".join(each["text"] for each in ran if each["output_type"] == "stream")
    assert told == "warning: `base` is simulated: its answers are a simulation, not data\n"
    assert "user: You are &#x27;" in _data(made)["text/html"]
    assert _data(read)["text/plain"] == "('user', 40)"
    # The fault with its line, and none of the frames between.
    (fault,) = faulty
    assert fault["ename"] == "RecipeError"
    shown = "\n".join(fault["traceback"])
    assert shown.startswith("RecipeError: a fault in the recipe\n\nerror[E101]: `bsae` is not defined here")
    assert "File" not in shown
    stopped = [each for each in interrupted if each["output_type"] == "error"]
    assert [each["ename"] for each in stopped] == ["KeyboardInterrupt"]
    assert "the same call goes on from there" in stopped[0]["evalue"]


def _data(outputs: list[Any]) -> Any:
    """What the value of a cell's last line is shown as."""
    (result,) = [each for each in outputs if each["output_type"] == "execute_result"]
    return result["data"]
