"""The package as it is installed: one importable name, whatever a user's own modules are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.kit.support import QUICKSTART, ROOT

# Names of modules that a user's folder has as well, and that must not be taken for ours.
TAKEN = ("base", "compiler", "dsl", "runtime", "store")


def build(source: Path, out: Path, *arguments: str) -> Path:
    """The one file that hatch makes of a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out), *arguments]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of the checkout, and one of what the source distribution holds."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    packed = build(ROOT, folder / "sdist", "-t", "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return {
        "checkout": build(ROOT, folder / "wheel", "-t", "wheel"),
        "source distribution": build(unpacked, folder / "again", "-t", "wheel"),
    }


def test_a_wheel_holds_one_package_whatever_it_is_made_from(wheels: dict[str, Path]) -> None:
    held = {made: _held(path) for made, path in wheels.items()}
    assert held["checkout"] == held["source distribution"]
    names = held["checkout"]
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"synth"}
    shipped = {
        f"synth/{path.relative_to(ROOT)}"
        for stage in ("dsl", "compiler", "store", "runtime")
        for path in (ROOT / stage).rglob("*")
        if path.suffix in (".py", ".lark", ".json", ".typed")
    }
    shipped |= {str(path.relative_to(ROOT)) for path in (ROOT / "synth").rglob("*.py")}
    shipped |= {f"synth/{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*") if path.is_file()}
    assert shipped <= set(names)


def _held(wheel: Path) -> dict[str, int]:
    """What a wheel holds, and the checksum of each file."""
    with zipfile.ZipFile(wheel) as archive:
        return {each.filename: each.CRC for each in archive.infolist()}


def test_it_works_beside_modules_of_the_same_names(wheels: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env/lib").glob("python3*/site-packages")
    with zipfile.ZipFile(wheels["checkout"]) as wheel:
        wheel.extractall(site)
    # What it depends on is what is installed here.
    needed = [path for path in Path(sysconfig.get_path("purelib")).iterdir() if not _is_ours(path.name)]
    for path in needed:
        (site / path.name).symlink_to(path)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in TAKEN:
        (mine / f"{name}.py").write_text("raise RuntimeError('this is the user's own')\n")
    shutil.copy(QUICKSTART, mine / "q.recipe")
    python = tmp_path / "env/bin/python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [str(python), *arguments], cwd=mine, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert run("-c", "import synth; print(synth.__file__)").strip() == str(site / "synth/__init__.py")
    run("-m", "synth", "run", "q.recipe", "--simulate", "--set", "conversations=4")
    run("-m", "synth", "materialize", "q.recipe", "--set", "conversations=4")
    assert (mine / "out/quickstart/train.jsonl").is_file()
    run("-m", "synth", "init", "--from", "pages", "cards")
    assert (mine / "cards/data/handbook/lending.md").is_file()
    assert "lancedb" in run("-c", "from synth.base.extras import install; print(install('retrieval'))")


def _is_ours(name: str) -> bool:
    return name.startswith(("synth", "_synth", "_editable_impl_synth", "__editable__"))
