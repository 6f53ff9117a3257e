"""The grammar, and its tables as they are shipped."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import synth.dsl.tables as module
from synth.dsl import Source, parse
from synth.dsl.tables import GRAMMAR, TABLES, build, tables
from tests.kit.support import ROOT

TEXT = 'edition 1\nx: text = "{{ a | b }}" {\n  y(1..2)\n}\n'


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the tables that may be damaged, and none in memory before and after."""
    copy = tmp_path / "grammar.json"
    copy.write_bytes(TABLES.read_bytes())
    monkeypatch.setattr(module, "TABLES", copy)
    tables.cache_clear()
    yield copy
    tables.cache_clear()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The grammars that tables were built of."""
    grammars: list[str] = []

    def counted(grammar: str) -> object:
        grammars.append(grammar)
        return build(grammar)

    monkeypatch.setattr(module, "build", counted)
    return grammars


def works() -> None:
    syntax, diagnostics = parse(Source("t", TEXT))
    assert not diagnostics
    assert len(syntax.statements) == 2


def test_the_grammar_has_no_conflict() -> None:
    pytest.importorskip("interegular", reason="strict tables need it")
    build(GRAMMAR.read_text("utf-8"), strict=True)


def test_the_tables_are_those_of_the_grammar() -> None:
    from lark import __version__

    if __version__ not in json.loads(TABLES.read_bytes())["larks"]:
        pytest.skip("the tables are of other versions of Lark, and are built here")
    made = runpy.run_path(str(ROOT / "scripts/tables.py"))["text"]()
    # No diff of a line of 70,000 characters.
    assert (TABLES.read_text("utf-8") == made) is True, "`python scripts/tables.py` makes it"


def test_shipped_tables_parse_as_built_ones(shipped: Path, builds: list[str]) -> None:
    loaded, built = tables(), build(GRAMMAR.read_text("utf-8"))
    assert not builds
    for start, text in (("start", TEXT), ("interpolation", "a.b | c(1)")):
        assert loaded.parse(text, start=start) == built.parse(text, start=start)


@pytest.mark.parametrize("change", ["missing", "empty", "cut", "other", "another Lark", "another grammar"])
def test_tables_that_do_not_load_are_built(shipped: Path, builds: list[str], change: str) -> None:
    good = shipped.read_bytes()
    content = json.loads(good)
    bad = {
        "missing": b"",
        "empty": b"",
        "cut": good[:-10],
        "other": json.dumps(content | {"data": []}).encode(),
        "another Lark": json.dumps(content | {"larks": ["1.1.0"]}).encode(),
        "another grammar": json.dumps(content | {"grammar": ""}).encode(),
    }[change]
    shipped.write_bytes(bad)
    if change == "missing":
        shipped.unlink()
    works()
    assert len(builds) == 1


def test_importing_the_package_imports_no_parser() -> None:
    code = "import synth.dsl, sys; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
