"""Hostile files at the command line: one sentence each, and soon."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from tests.kit.support import QUICKSTART, synth

HEAD = b"edition 1\nrecipe r { seed = 1 }\n"
FILES = {
    "fifty megabytes": (b"edition 1\n# " + b"x" * 50_000_000, ["E008"]),
    "ten thousand braces": (HEAD + b"x {" * 10_000, ["E003"]),
    "ten thousand brackets": (HEAD + b"let x = " + b"[" * 10_000, ["E003"]),
    "NUL": (b"edition 1\nrecipe r\x00 { seed = 1 }\n", ["E008"]),
    "a lone surrogate": (HEAD + b'let x = "\xed\xa0\x80"\n', ["E008"]),
    "Latin-1": (HEAD + 'let x = "é"\n'.encode("latin-1"), ["E008"]),
    "right-to-left override": ("edition 1\nrecipe r\u202e { seed = 1 }\n".encode(), ["E006"]),
    "CRLF": (QUICKSTART.read_bytes().replace(b"\n", b"\r\n"), []),
    "BOM": (b"\xef\xbb\xbf" + QUICKSTART.read_bytes(), []),
    "an import that climbs out": (HEAD + b'use x from "../../../etc/passwd"\n', ["E106"]),
    "an import of itself": (HEAD + b'use x from "hostile.recipe"\n', ["E105"]),
    "an import of a folder": (HEAD + b'use x from "."\n', ["E106"]),
    "random bytes": (bytes(range(256)) * 40, None),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_get_one_sentence(name: str, tmp_path: Path) -> None:
    content, codes = FILES[name]
    recipe = tmp_path / "hostile.recipe"
    recipe.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result = synth("check", recipe, "--format", "json", cwd=tmp_path, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert "Traceback" not in result.err
    errors = [
        diagnostic["code"] for diagnostic in json.loads(result.out) if diagnostic["severity"] == "error"
    ]
    if codes is None:
        assert errors
    else:
        assert errors == codes
    assert result.status == (1 if errors else 0)
    assert after <= max(before, 400_000), "KiB of memory"


def test_libraries_in_a_circle_get_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.recipe").write_text('edition 1\nlibrary a\nuse b from "b.recipe"\n')
    (tmp_path / "b.recipe").write_text('edition 1\nlibrary b\nuse a from "a.recipe"\n')
    result = synth("check", "a.recipe", "--format", "json", cwd=tmp_path)
    assert [diagnostic["code"] for diagnostic in json.loads(result.out)] == ["E105"]


def test_a_faulty_recipe_is_never_a_traceback_in_any_command(tmp_path: Path) -> None:
    recipe = tmp_path / "junk.recipe"
    recipe.write_text('}{ let = [ "\nturn turn turn\n' * 50, "utf-8")
    for command in (["check"], ["compile"], ["run", "--simulate"], ["materialize"], ["replay"], ["fmt"]):
        result = synth(*command, recipe, cwd=tmp_path)
        assert result.status == 1
        assert "Traceback" not in result.err
        assert len(result.err) < 60_000
