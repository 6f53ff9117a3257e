"""`synth fmt`: what it writes, what it leaves alone, and what it says."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.support import PERSONA, QUICKSTART, ROOT, command, environment, one_sentence, synth

UNTIDY = "edition   1\n\n\n\nrecipe r{seed=7}  # seven\n"
TIDY = "edition 1\n\nrecipe r { seed = 7 }  # seven\n"
FAULTY = "edition 1\nrecipe r {\n"


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    path = tmp_path / "untidy.recipe"
    path.write_text(UNTIDY)
    return path


def piped(content: bytes, *arguments: str, cwd: Path) -> tuple[int, bytes, str]:
    """The exit status and the output of `synth fmt --stdin`."""
    done = subprocess.run(
        command("fmt", "--stdin", *arguments), cwd=cwd, env=environment(), input=content, capture_output=True
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_recipe_is_rewritten_once(untidy: Path) -> None:
    untidy.chmod(0o640)
    first = synth("fmt", untidy.name, cwd=untidy.parent)
    assert (first.status, first.out, first.err) == (0, "formatted untidy.recipe\n", "")
    assert untidy.read_text() == TIDY
    assert untidy.stat().st_mode & 0o777 == 0o640
    written = untidy.stat().st_mtime_ns
    second = synth("fmt", untidy.name, cwd=untidy.parent)
    assert (second.status, second.out) == (0, "1 recipe formatted already\n")
    assert untidy.stat().st_mtime_ns == written
    assert os.listdir(untidy.parent) == [untidy.name], "nothing else is left behind"


def test_what_is_shipped_is_formatted(tmp_path: Path) -> None:
    starter = ROOT / "synth/starter/quickstart.recipe"
    result = synth("fmt", "--check", PERSONA, QUICKSTART, starter, cwd=tmp_path)
    assert (result.status, result.out, result.err) == (0, "3 recipes formatted already\n", "")


def test_the_readme_recipe_is_formatted(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (recipe,) = re.findall(r"```\n(edition.*?)```", readme, re.DOTALL)
    assert piped(recipe.encode(), cwd=tmp_path) == (0, recipe.encode(), "")


def test_a_check_changes_nothing_and_shows_a_diff(untidy: Path) -> None:
    result = synth("fmt", "--check", untidy.name, cwd=untidy.parent)
    assert result.status == 1
    assert untidy.read_text() == UNTIDY
    assert result.out == (
        "--- untidy.recipe\n+++ untidy.recipe\n@@ -1,5 +1,3 @@\n"
        "-edition   1\n+edition 1\n \n-\n-\n-recipe r{seed=7}  # seven\n+recipe r { seed = 7 }  # seven\n"
    )


def test_a_diff_shows_line_ends_and_marks(tmp_path: Path) -> None:
    recipe = tmp_path / "other.recipe"
    recipe.write_bytes(b"\xef\xbb\xbfedition 1\r\nrecipe r")
    result = synth("fmt", "--check", recipe.name, cwd=tmp_path)
    assert result.status == 1
    assert result.out.endswith("-recipe r\n\\ No newline at end of file\n+edition 1\n+recipe r\n")
    assert synth("fmt", recipe.name, cwd=tmp_path).status == 0
    assert recipe.read_bytes() == b"edition 1\nrecipe r\n"


def test_a_diff_has_colours_on_a_terminal(tmp_path: Path) -> None:
    """There every character is visible, and none takes effect."""
    recipe = tmp_path / "other.recipe"
    recipe.write_text("# \x1b[31m\u202e red\nedition  1\n")
    parent, child = pty.openpty()
    with subprocess.Popen(
        command("fmt", "--check", recipe.name), cwd=tmp_path, env=environment(), stdout=child
    ) as process:
        os.close(child)
        shown = b""
        try:
            while chunk := os.read(parent, 65536):
                shown += chunk
        except OSError:
            pass  # a terminal without a writer is an error on Linux, and the end elsewhere
    os.close(parent)
    assert process.returncode == 1
    text = shown.decode()
    assert "\x1b[31m-edition  1\x1b[0m" in text
    assert "\x1b[32m+edition 1\x1b[0m" in text
    assert " # \u241b[31m<U+202E> red" in text
    assert "\u202e" not in text


def test_a_recipe_with_faults_is_left_alone(untidy: Path) -> None:
    faulty = untidy.with_name("faulty.recipe")
    for content in (FAULTY.encode(), b'edition  1\nrecipe r { seed = "\xff" }\n', "a\n".encode("utf-16")):
        faulty.write_bytes(content)
        untidy.write_text(UNTIDY)
        result = synth("fmt", faulty.name, untidy.name, cwd=untidy.parent)
        assert result.status == 1
        assert re.search(r"^error\[E00\d]: .*\n +--> faulty\.recipe:", result.err)
        assert "\n1 error; `synth explain E00" in result.err
        assert faulty.read_bytes() == content
        assert untidy.read_text() == TIDY, "the others are formatted"


def test_faults_of_meaning_do_not_matter(tmp_path: Path) -> None:
    recipe = tmp_path / "unknown.recipe"
    recipe.write_text("trun  x:user by nobody\n")
    assert synth("fmt", recipe, cwd=tmp_path).status == 0
    assert recipe.read_text() == "trun x: user by nobody\n"


def test_standard_input_goes_to_standard_output(tmp_path: Path) -> None:
    assert piped(UNTIDY.encode(), cwd=tmp_path) == (0, TIDY.encode(), "")
    assert piped(b"\xef\xbb\xbfa\r\n# \xd9\x87\xd9\x8a\r\n", cwd=tmp_path) == (0, "a\n# هي\n".encode(), "")
    assert piped(b"", cwd=tmp_path) == (0, b"", "")
    status, out, err = piped(FAULTY.encode(), cwd=tmp_path)
    assert (status, out) == (1, b"")
    assert "--> standard input:2:10" in err
    status, out, err = piped(b"a \xff", cwd=tmp_path)
    assert (status, out) == (1, b"")
    assert (
        err == "synth: standard input is not UTF-8 text (byte 0xFF at offset 2): write the recipe in UTF-8\n"
    )


def test_standard_input_can_be_checked(tmp_path: Path) -> None:
    status, out, _ = piped(UNTIDY.encode(), "--check", cwd=tmp_path)
    assert status == 1
    assert out.startswith(b"--- standard input\n")
    assert piped(TIDY.encode(), "--check", cwd=tmp_path) == (0, b"", "")


def test_texts_keep_their_carriage_returns(tmp_path: Path) -> None:
    """Reading takes one from a line's end, in a file as in a text, and formatting gives it back."""
    content = b'a = """\n  one\r\r\r\n  two\n  """\n'
    assert piped(content, cwd=tmp_path) == (0, content, "")


def test_a_link_stays_a_link(untidy: Path) -> None:
    link = untidy.with_name("link.recipe")
    link.symlink_to(untidy.name)
    assert synth("fmt", link.name, cwd=untidy.parent).status == 0
    assert link.is_symlink()
    assert untidy.read_text() == TIDY


def test_a_file_that_cannot_be_replaced_is_as_it_was(untidy: Path) -> None:
    """There is no room for the new content: nothing but the old is there afterwards."""
    script = 'ulimit -f 0; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "-", *command("fmt", untidy.name)],
        cwd=untidy.parent,
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "synth: untidy.recipe cannot be written (File too large), and is as it was\n"
    assert untidy.read_text() == UNTIDY
    assert os.listdir(untidy.parent) == [untidy.name]


def test_what_is_to_be_formatted_must_be_named(untidy: Path) -> None:
    for arguments in ((), ("--check",), ("--stdin", untidy.name)):
        result = synth("fmt", *arguments, cwd=untidy.parent)
        assert result.status == 2
        assert "name the recipes to format, or give one with --stdin" in result.err
    assert untidy.read_text() == UNTIDY
    assert "nowhere.recipe" in one_sentence(synth("fmt", "nowhere.recipe", cwd=untidy.parent), 1)
    assert "name a recipe in it" in one_sentence(synth("fmt", ".", cwd=untidy.parent), 1)
