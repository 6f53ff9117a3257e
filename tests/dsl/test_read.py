"""From bytes to a source."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import ConfigError
from synth.dsl import MAX_BYTES, Diagnostic, Source, parse, read, read_text, to_text


def recipe(folder: Path, data: bytes, name: str = "a.recipe") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def one(folder: Path, data: bytes) -> tuple[Source, Diagnostic]:
    source, diagnostics = read(recipe(folder, data))
    assert len(diagnostics) == 1
    assert diagnostics[0].code == "E008"
    assert diagnostics[0].hint
    assert to_text(diagnostics, color=False, width=80)
    return source, diagnostics[0]


def place(source: Source, fault: Diagnostic) -> tuple[int, int]:
    assert fault.primary is not None
    return source.position(fault.primary.start)


def test_the_name_is_the_path_unless_given(tmp_path: Path) -> None:
    path = recipe(tmp_path, b"edition 1\n")
    source, diagnostics = read(path)
    assert (source.name, source.path, source.text, diagnostics) == (str(path), path, "edition 1\n", [])
    assert read(path, name="mine")[0].name == "mine"


def test_mark_and_line_ends_are_dropped(tmp_path: Path) -> None:
    source, diagnostics = read(recipe(tmp_path, codecs.BOM_UTF8 + b"a\r\nb\n\r\nc"))
    assert (source.text, diagnostics) == ("a\nb\n\nc", [])


def test_a_byte_that_is_not_utf_8(tmp_path: Path) -> None:
    source, fault = one(tmp_path, codecs.BOM_UTF8 + 'é = 1\r\nb = "'.encode() + b'caf\xe9 \xff"\nc = 2\n')
    assert fault.message == "byte 0xE9 is not UTF-8 text"
    assert place(source, fault) == (2, 9)
    assert "caf\ufffd" in source.text


def test_bytes_outside_texts_are_reported_once(tmp_path: Path) -> None:
    source, _ = one(tmp_path, b"par\xe9m x = 1\n\nb = \xff\n\nc = 5x\n")
    assert [item.code for item in parse(source)[1]] == ["E004"]


def test_a_replacement_character_that_was_written_is_reported() -> None:
    source, diagnostics = read_text("a = \ufffd\n", "t")
    assert not diagnostics
    assert [item.code for item in parse(source)[1]] == ["E002"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_other_encodings_are_named_and_read(tmp_path: Path, encoding: str) -> None:
    text = 'edition 1\nx = "سؤال"\n'
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-32-be": codecs.BOM_UTF32_BE}
    source, fault = one(tmp_path, marks.get(encoding, b"") + text.encode(encoding))
    assert "not UTF-8" in fault.message
    assert source.text == text


def test_nul_characters(tmp_path: Path) -> None:
    source, fault = one(tmp_path, b'a = 1\nb = "x\0y\0"\n')
    assert place(source, fault) == (2, 7)
    assert "\0" not in source.text


def test_lone_surrogates(tmp_path: Path) -> None:
    source, fault = one(tmp_path, b'a = "\xed\xa0\x80"\n')
    assert place(source, fault) == (1, 6)
    source, diagnostics = read_text('a = "\ud83d"', "t\ud83d")
    assert [item.code for item in diagnostics] == ["E008"]
    (source.name + source.text).encode()


def test_files_over_the_limit(tmp_path: Path) -> None:
    path = recipe(tmp_path, b"a = 1\n")
    assert read(path, max_bytes=6)[1] == []
    source, (fault,) = read(path, max_bytes=5)
    assert (source.text, fault.code, fault.message) == ("", "E008", "this file is longer than 5 bytes")
    assert MAX_BYTES > 1_000_000


def test_an_endless_file_is_read_to_the_limit() -> None:
    _, (fault,) = read(Path("/dev/zero"), max_bytes=1000)
    assert fault.message == "this file is longer than 1_000 bytes"


def sentence(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    text.encode()
    return text


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = recipe(tmp_path, b"", "persona.recipe")
    missing = sentence(tmp_path / "persna.recipe")
    assert missing.endswith("did you mean `persona.recipe`?")
    assert sentence(tmp_path / "other").endswith("check the path")
    assert "is a folder" in sentence(tmp_path)
    assert "cannot be read" in sentence(path / "inside")
    assert "cannot be read" in sentence(tmp_path / ("x" * 5000))
    assert "cannot be read" in sentence(tmp_path / "a\0b")
    assert "there is no file" in sentence(tmp_path / os.fsdecode(b"\xff\x1b[31m"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = recipe(tmp_path, b"a")
    path.chmod(0)
    assert "may not be read" in sentence(path)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    source, diagnostics = decoded(data)
    source.text.encode("utf-8")
    assert "\0" not in source.text
    assert all(
        item.primary and 0 <= item.primary.start <= item.primary.end <= len(source.text)
        for item in diagnostics
    )
    to_text([*diagnostics, *parse(source)[1]], color=True, width=60)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")))
@settings(deadline=None)
def test_any_text_is_read_as_it_is(text: str) -> None:
    source, diagnostics = decoded(text.encode("utf-8"))
    assert (source.text, diagnostics) == (text.removeprefix("\ufeff"), [])


def decoded(data: bytes) -> tuple[Source, list[Diagnostic]]:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    try:
        return read(Path(f"/dev/fd/{read_end}"))
    finally:
        os.close(read_end)
