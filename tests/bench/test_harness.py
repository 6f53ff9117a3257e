"""Measuring: child processes, medians, reports."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from bench.lib.harness import Child, Options, measured, median_by, repeat
from bench.lib.report import Bars, Lines, Report, Table, cell_text, grid, index, markdown, write

FACTS = {
    "date": "2026-01-01",
    "size": "quick",
    "seconds": 1.0,
    "load": 0.5,
    "machine": {"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "system": "Linux", "gpu": None},
    "versions": {"python": "3.11"},
}


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_child_is_measured_by_the_kernel(tmp_path: Path) -> None:
    usage = measured(
        script("import time; sum(range(3_000_000)); print(time.process_time())"), cwd=tmp_path
    ).require()
    # The child's own clock starts a little later and ends a little earlier.
    assert usage.cpu_s >= float(usage.out) - 0.01
    assert usage.wall_s > 0


def test_the_peak_is_the_childs_own(tmp_path: Path) -> None:
    ballast = bytearray(300 << 20)
    small = measured(script("import time; time.sleep(0.2)"), cwd=tmp_path).require()
    large = measured(script("b = bytearray(100 << 20); import time; time.sleep(0.2)"), cwd=tmp_path).require()
    assert large.peak_mib >= 100
    assert small.peak_mib < 100 < len(ballast) >> 20


def test_what_a_child_says_and_how_it_ends(tmp_path: Path) -> None:
    usage = measured(script("import sys; print('x'); print('y', file=sys.stderr); sys.exit(3)"), cwd=tmp_path)
    assert (usage.out, usage.err, usage.status) == ("x\n", "y\n", 3)
    assert usage.require(3) is usage
    with pytest.raises(RuntimeError, match=r"exit status 3: y"):
        usage.require()


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        measured(script("import time; time.sleep(600)"), cwd=tmp_path, timeout_s=0.3)


def test_it_is_late_however_soon_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill, gone = Child.kill, threading.Event()

    def slowly(child: Child) -> None:
        kill(child)
        gone.wait(1.0)

    monkeypatch.setattr(Child, "kill", slowly)
    with pytest.raises(TimeoutError):
        measured(script("import time; time.sleep(600)"), cwd=tmp_path, timeout_s=0.1)


def test_a_child_does_not_outlive_its_block(tmp_path: Path) -> None:
    with Child(script("import time; time.sleep(600)"), cwd=tmp_path) as child:
        assert child.running
    assert not child.running
    assert child.wait().status == -9


def test_keys_and_endpoints_do_not_reach_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    usage = measured(script("import os; print('OPENAI_API_KEY' in os.environ)"), cwd=tmp_path)
    assert usage.out == "False\n"


def test_there_is_always_a_first_run() -> None:
    assert repeat(lambda: 1, runs=3, within_s=0) == [1]
    assert repeat(lambda: 1, runs=3, within_s=60) == [1, 1, 1]


def test_the_median_is_a_run_that_happened() -> None:
    assert median_by([("a", 5.0), ("b", 1.0), ("c", 3.0)], lambda run: run[1]) == ("c", 3.0)


def test_a_size_for_each_way_of_asking(tmp_path: Path) -> None:
    assert Options(tmp_path, quick=True).pick(1, 2, 3) == 1
    assert Options(tmp_path).pick(1, 2, 3) == 2
    assert Options(tmp_path, full=True).pick(1, 2, 3) == 3
    assert Options(tmp_path, full=True).pick(1, 2) == 2


# Reports ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.5, "1.50"),
        (45678.9, "45,679"),
        ("word", "word"),
    ],
)
def test_cells_have_three_digits_that_count(cell: str | int | float | None, text: str) -> None:
    assert cell_text(cell) == text


def test_a_table_is_aligned() -> None:
    lines = grid(Table("", ("name", "n"), [("a", 1), ("longer", 1000), ("none", None)])).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith("-:|")
    assert lines[3] == "| longer | 1,000 |"


def report() -> Report:
    return Report(
        title="A title",
        headline="What was found.",
        tables=[Table("Figures", ("", "s"), [("a", 1.0)])],
        notes=["A note."],
        plots=[
            Bars("Bars", "s", ["a", "b"], {"x": [1.0, None], "y": [2.0, 30.0]}, log=True),
            Lines("Lines", "n", "s", {"x": [(1, 1.0), (10, 2.0)]}, limit={"target": 3.0}, log_x=True),
        ],
        figures={"a": 1.0},
    )


def test_a_report_is_written_for_programs_and_for_people(tmp_path: Path) -> None:
    written = write("name", report(), FACTS, tmp_path)
    assert [path.name for path in written] == ["name.json", "name.md", "name.png"]
    result = json.loads(written[0].read_text("utf-8"))
    assert (result["figures"], result["date"], result["machine"]["cores"]) == ({"a": 1.0}, "2026-01-01", 2)
    assert written[2].read_bytes().startswith(b"\x89PNG")
    page = written[1].read_text("utf-8")
    for part in ("# A title", "What was found.", "| a", "- A note.", "name.png", "2 cores", "A quick run"):
        assert part in page


def test_the_same_figures_draw_the_same_picture(tmp_path: Path) -> None:
    pictures = [write("name", report(), FACTS, tmp_path / part)[2].read_bytes() for part in ("a", "b")]
    assert pictures[0] == pictures[1]


def test_a_page_without_plots_shows_none(tmp_path: Path) -> None:
    bare = report()
    bare.plots = []
    assert len(write("name", bare, FACTS, tmp_path)) == 2
    assert "png" not in markdown("name", bare, FACTS)


def test_the_index_lists_what_is_there(tmp_path: Path) -> None:
    write("one", report(), FACTS, tmp_path)
    write("two", report(), FACTS, tmp_path)
    index(tmp_path)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.count("What was found.") == 2
    assert "[one](one.md)" in text
    assert "has not been run" in text
