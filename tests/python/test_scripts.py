"""Python scripts as people write them, with engines that are processes of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.models.fixtures import needs
from tests.kit.support import RECIPES, ROOT, environment

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
GUARD = 'if __name__ == "__main__":'
PLACE = """\
[models.base]
backend = "vllm"
id = "{checkpoint}"
max_num_seqs = 8
kv_cache_gb = 0.25
threads = 1
"""


def script(folder: Path, text: str, *, module: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end, with engines in processes of their own."""
    (folder / "train.py").write_text(text, "utf-8")
    return subprocess.run(
        [sys.executable, *(["-m", "train"] if module else ["train.py"])],
        cwd=folder,
        env=environment({"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}),
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_the_example_of_the_readme_runs_as_a_script(tmp_path: Path, tiny_gemma: Path) -> None:
    needs("vllm")
    shutil.copytree(RECIPES, tmp_path / "recipes")
    (tmp_path / "recipes" / "synth.toml").write_text(PLACE.format(checkpoint=tiny_gemma))
    # What the tiny model says is noise, which seldom finds an end.
    recipe = tmp_path / "recipes" / "quickstart.recipe"
    recipe.write_text(
        recipe.read_text("utf-8").replace("    retry = 3\n", "    on_length = keep\n    retry = 3\n")
    )
    assert EXAMPLE is not None
    example = EXAMPLE[1].replace("conversations=24", "conversations=3")
    assert "conversations=3" in example
    assert GUARD in example
    # Without its guard it is told so, before anything is started or written.
    refused = script(tmp_path, example.replace(GUARD, "if True:"))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "synth.base.errors.EngineError: vLLM's engine runs in a process of its own, which imports train.py "
        'again: put what train.py does below `if __name__ == "__main__":`'
    )
    assert not (tmp_path / "synth.duckdb").exists()
    done = script(tmp_path, example)
    assert done.returncode == 0, done.stderr
    report, dataset = done.stdout.splitlines()
    assert report.startswith("<RunReport finished: identity 3 of 3; 6 calls in ")
    assert dataset.startswith("out/quickstart {'train': 3} [{'role': 'assistant', 'content': ")
    assert "Traceback" not in done.stderr


ASKS = """
from synth.runtime.engines.local.guard import require_guard

def ask():
    require_guard("the engine")
    print("fine")
"""
WITHIN = f"{ASKS}\n{GUARD}\n    ask()\n"
SPAWNED = f"""{ASKS}
import multiprocessing
import threading

# Where the line of the script cannot be seen.
thread = threading.Thread(target=ask)
thread.start()
thread.join()

{GUARD}
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
"""


def test_a_script_is_guarded_where_its_line_is(tmp_path: Path) -> None:
    fine = [WITHIN, f"{ASKS}\ndef main():\n    ask()\n\n{GUARD}\n    main()\n"]
    unguarded = [f"{ASKS}\nask()\n", f"{ASKS}\n{GUARD}\n    pass\nask()\n", f"{ASKS}\nif True:\n    ask()\n"]
    for text in fine:
        assert script(tmp_path, text).stdout == "fine\n"
    for text in unguarded:
        done = script(tmp_path, text)
        assert (done.returncode, done.stdout) == (1, "")
        assert "the engine runs in a process of its own, which imports train.py again" in done.stderr
    assert script(tmp_path, WITHIN, module=True).stdout == "fine\n"
    assert script(tmp_path, unguarded[0], module=True).returncode == 1
    # What is not seen at first is refused in the process that imports the script again.
    done = script(tmp_path, SPAWNED)
    assert done.stdout.splitlines()[0] == "fine"
    assert "imports the script again" in done.stderr
