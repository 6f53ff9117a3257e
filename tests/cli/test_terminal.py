"""One door to the terminal: what somebody else wrote shows there as text, and does nothing else."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.base.display import escaped, escaped_block, escaped_json, visible
from tests.cli.doors import ACTS, call
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import QUICKSTART, ROOT, command, environment, query, synth
from tests.runtime.test_run import served

PACKAGES = ("dsl", "compiler", "store", "runtime", "synth")
DOOR = "synth/cli/terminal.py"
# Each does something to a terminal, hides what follows, or is no character.
HOSTILE = (
    "\x1b[31m\x1b]0;owned\x07",
    "\x9b31m\x90\x85",
    "\u202eesrever\u2066\u200f\u061c",
    "a\u200bb\ufeffc\u2060\U000e0041",
    "one\u2028two\u2029\rthree\x08\x7f",
    "\ud800 and \udcff",
    "x\u200dy\ufe0f",
)
LEGIT = (
    "می‌خواهم بروم؟ ١٢٣",
    "שלום עולם",
    "क्‍षत्रिय हिन्दी",
    "👩‍👩‍👧 👍🏽 ❤️‍🔥 #️⃣ 🏴‍☠️",
    "葛\U000e0100飾区　東京",
    "prix\u00a0: 3\u202f€, naïve",
)
hostile = st.text(
    st.one_of(st.characters(codec=None), st.sampled_from("".join(HOSTILE) + "\n\t{}`'\"%$")), max_size=30
)


# Nobody goes round it -------------------------------------------------------------------------


def _prints(tree: ast.AST) -> Iterator[str]:
    """What in a module's text writes to the terminal, or gets hold of its streams."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "click.echo", "click.secho", "click.echo_via_pager", "Console"):
                yield called
            if called in ("os.write", "warnings.showwarning") or called.endswith("pprint"):
                yield called
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in (
            *("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"),
            *("click.echo", "click.get_text_stream", "click.progressbar"),
        ):
            yield ast.unparse(node)


def test_nothing_is_printed_but_through_the_door() -> None:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name != DOOR and (prints := list(_prints(ast.parse(path.read_text("utf-8"))))):
                found[name] = prints
    # The sentence of an interrupted process, whose words are ours.
    assert found.pop("synth/cli/__init__.py") == ["os.write"]
    assert found.pop("synth/cli/signals.py") == ["os.write"]
    assert found == {}


# What is shown --------------------------------------------------------------------------------


@settings(deadline=None)
@given(hostile)
def test_no_character_acts(text: str) -> None:
    for shown in (visible(text), escaped(text)):
        assert not ACTS.search(shown)
        assert "\n" not in shown
    assert not ACTS.search(escaped_block(text))
    told = escaped_json(json.dumps(text, ensure_ascii=False))
    assert not ACTS.search(told)
    # Two halves of one character are that character in JSON.
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert json.loads(told).encode("utf-16", "surrogatepass") == joined.encode("utf-16", "surrogatepass")


@pytest.mark.parametrize("text", LEGIT)
def test_scripts_and_emoji_stay_readable(text: str) -> None:
    assert visible(text) == escaped(text) == escaped_block(text) == escaped_json(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_acts_is_shown_as_what_it_is(text: str) -> None:
    assert not ACTS.search(escaped(text))
    assert escaped(text).encode().decode("unicode_escape").encode("utf-16", "surrogatepass") == text.encode(
        "utf-16", "surrogatepass"
    )


# Commands -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a log in which a service's answers and faults are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "r.recipe").write_text(
        QUICKSTART.read_text("utf-8").replace("stop = ", "temperature = 1\n    stop = ")
    )
    texts = [*HOSTILE[:5], *LEGIT]
    asked = 0

    def answer(call: Asked) -> str | Raw:
        nonlocal asked
        asked += 1
        if asked % 3 == 0:
            message = texts[asked // 3 % len(texts)]
            return Raw({"error": {"message": f"cannot: {message}", "code": message}}, 400)
        return f"It is {texts[asked % len(texts)]} and no more."

    with OpenAIServer(answer=answer) as server:
        done = synth("run", "r.recipe", "--model", "base=openai:big", cwd=folder, env=served(server))
    assert not ACTS.search(done.out + done.err), done.out + done.err
    assert "failed tries: " in done.out, done.out + done.err
    return folder


def commands(folder: Path) -> list[list[str]]:
    ids = [
        row[0]
        for row in query(
            folder / "synth.duckdb",
            "SELECT DISTINCT sample_id FROM events WHERE sample_id IS NOT NULL ORDER BY 1",
        )
    ]
    return [
        *(["show", each] for each in ids[:6]),
        *(["show", each, "--json"] for each in ids[:3]),
        ["status"],
        ["status", "--json"],
        ["sql", "SELECT payload, payload ->> 'text', payload ->> 'message' FROM events"],
        ["sql", "--json", "SELECT payload ->> 'text' AS t, payload ->> 'message' AS m FROM events"],
        ["compile", "r.recipe", "--log", "synth.duckdb", "--model", "base=openai:big"],
        ["replay", "r.recipe", "--json"],
        ["materialize", "r.recipe", "--partial"],
        ["evaluate", "r.recipe"],
    ]  # fmt: skip


def test_answers_and_faults_of_services_do_nothing_to_a_terminal(project: Path) -> None:
    for arguments in commands(project):
        result = call(*arguments, cwd=project)
        assert not ACTS.search(result.out), arguments
        assert not ACTS.search(result.err), arguments
        if "--json" in arguments:
            json.loads(result.out)
    stories = "".join(call(*each, cwd=project).out for each in commands(project) if each[0] == "show")
    assert any(escaped(text) in stories for text in HOSTILE[:5])


def test_json_and_csv_keep_what_is_in_the_log(project: Path) -> None:
    question = "SELECT payload ->> 'text' AS t FROM events WHERE kind = 'call.completed' ORDER BY seq"
    texts = [row[0] for row in query(project / "synth.duckdb", question)]
    assert any("\x1b" in text for text in texts)
    assert [row["t"] for row in call("sql", "--json", question, cwd=project).json()] == texts
    written = subprocess.run(
        command("sql", "--csv", question), cwd=project, env=environment(), capture_output=True, check=True
    )
    lines = io.StringIO(written.stdout.decode(), newline="")
    assert [row["t"] for row in csv.DictReader(lines)] == texts


def test_csv_on_a_terminal_is_for_eyes(project: Path) -> None:
    shown = on_terminal("sql", "--csv", "SELECT chr(27) || '[31m' || chr(8238) AS t", cwd=project)
    assert "\\x1b[31m\\u202e" in shown
    assert "\x1b" not in shown


def test_numbers_that_json_has_not_are_texts(project: Path) -> None:
    found = call(
        "sql",
        "--json",
        "SELECT 'nan'::DOUBLE AS a, '-inf'::DOUBLE AS b, {'x': 'inf'::DOUBLE} AS c",
        cwd=project,
    )
    assert json.loads(found.out, parse_constant=pytest.fail) == [
        {"a": "NaN", "b": "-Infinity", "c": {"x": "Infinity"}}
    ]


# An argument is bytes to the system: what is no UTF-8 comes as these surrogates, and none is NUL.
_argument = hostile.map(lambda text: re.sub("[\0\ud800-\udc7f\udd00-\udfff]", "\udc80", text))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_argument)
def test_arguments_do_nothing_to_a_terminal(project: Path, text: str) -> None:
    """Whatever stands in a command line, what is said of it shows."""
    for arguments in (
        [text],
        ["run", text],
        ["run", "r.recipe", f"--set={text}"],
        ["run", "r.recipe", f"--set=conversations={text}"],
        ["compile", "r.recipe", f"--model={text}"],
        ["compile", "r.recipe", f"--model=base=openai:{text}"],
        ["show", text],
        ["status", f"--log={text}"],
        ["sql", text],
        ["explain", text],
        ["check", text],
        ["verify", text],
        ["fmt", "--check", text],
        ["run", "r.recipe", f"--max-calls={text}"],
        ["check", "r.recipe", f"--format={text}"],
    ):
        if arguments[-1].startswith("-h"):
            continue
        result = call(*arguments, cwd=project)
        assert not ACTS.search(result.out), arguments
        assert not ACTS.search(result.err), arguments
        assert "internal error" not in result.err, (arguments, result.err)


def on_terminal(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command shows on a terminal, both streams."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment({"TERM": "xterm", **(env or {})}),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_only_our_own_colours_reach_a_terminal(project: Path) -> None:
    (project / "bad.recipe").write_text(f"edition 1\nrecipe x {{ }}\n# {HOSTILE[0]}\nturn a: user = 1\n")
    shown = on_terminal("check", "bad.recipe", cwd=project)
    assert "\x1b[" in shown
    assert "]0;owned" not in shown or "\x1b]0;" not in shown
    plain = on_terminal("check", "bad.recipe", cwd=project, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain


def test_what_libraries_write_goes_through_as_well(tmp_path: Path) -> None:
    script = (
        "import logging, sys, warnings\n"
        "from synth.cli import group, process\n"
        "import click\n"
        "@click.command()\n"
        "def command():\n"
        "    warnings.warn('of a library \\x1b[31m\\u202e')\n"
        "    logging.getLogger('library').error('it said \\x9b')\n"
        "    print('printed \\x1b]0;x\\x07')\n"
        "    sys.stderr.write('\\rloading 3/4')\n"
        "group.LazyGroup.get_command = lambda self, ctx, name: command\n"
        "sys.argv = ['synth', 'status']\n"
        "sys.exit(process.run(lambda *_: None))\n"
    )
    done = subprocess.run(
        [*command()[:1], "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == "printed \\x1b]0;x\\x07\n"
    assert done.stderr.decode() == "warning: of a library \\x1b[31m\\u202e\nit said \\x9b\n\rloading 3/4"
