"""What `compile` says of rows: with a log what is left to do, without one all of it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth.runtime.sources.readers import jsonl
from synth.runtime.sources.record import Record
from tests.cli.doors import call
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import environment, synth
from tests.rows.project import HEAD, PLAIN, Project, numbered, served, server

LOG = ("--log", "synth.duckdb")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, HEAD + PLAIN, map(numbered, range(12)))


def test_a_changed_file_is_read_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(faults=FaultPlan()) as at:
        project.ran(at)
        project.table([numbered(number, body=f"mended {number}") for number in range(12)])
        read, reader = [], jsonl.read_jsonl

        def counted(path: Path, name: str) -> Iterator[Record]:
            read.append(name)
            return reader(path, name)

        monkeypatch.setattr("synth.runtime.sources.scan.read_jsonl", counted)
        told = call("compile", "rows.recipe", *LOG, "--json", cwd=project.folder, env=served(at))
    assert told.json()["calls"] == 12
    assert read == ["rows.jsonl"]


def test_where_a_service_is_changes_nothing_of_what_is_lost(project: Project) -> None:
    with server(faults=FaultPlan()) as at:
        assert project.ran(at) == 11
        keys = served(at)
        elsewhere = [
            {},
            {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
            {"OPENAI_BASE_URL": f"{at.base_url}/"},
        ]
        for env in elsewhere:
            told = synth("compile", "rows.recipe", *LOG, "--json", cwd=project.folder, env=env)
            assert told.json()["calls"] == 0
        with server(faults=FaultPlan()) as other:
            assert project.ran(other) == 0
            assert other.total == 0
        (project.folder / "synth.toml").write_text(
            f'[models.one]\nbase_url = "{at.base_url}"\napi_key_env = "ELSE"\n'
        )
        told = synth("compile", "rows.recipe", *LOG, "--json", cwd=project.folder)
        assert told.json()["calls"] == 0
        # What changes a request may be what it was refused for.
        (project.folder / "synth.toml").write_text('[models.one]\nomit = ["seed"]\n')
        told = synth("compile", "rows.recipe", *LOG, "--json", cwd=project.folder, env=keys)
        assert told.json()["calls"] == 12


def test_what_stands_is_counted(project: Project) -> None:
    """Rows that are left out, or fall to a `keep`, are no samples of anybody."""
    with server(faults=FaultPlan()) as at:
        project.ran(at)
    source = 'jsonl("rows.jsonl", id = "id") { bad_rows = skip, keep { no_words(body, "number 5") } }'
    project.recipe((HEAD + PLAIN).replace('jsonl("rows.jsonl", id = "id")', source))
    project.table([*map(numbered, range(12)), {"id": "x"}, {"id": "t1", "body": "again"}])
    said = "2 rows that do not fit left out; 1 of 12 fell to its `keep`: no_words 1)"
    for log in ((), LOG):
        assert f"each of the 11 rows of tickets ({said}" in project.synth("compile", "rows.recipe", *log).out
        told = project.synth("compile", "rows.recipe", *log, "--json").json()
        assert told["cohorts"]["answered"] == {"quota": 11, "over": "tickets", "rows": 11}
    # One of them is lost for good.
    with server(faults=FaultPlan()) as at:
        assert project.foreseen() == project.ran(at) == 0


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_no_row(project: Project, content: str) -> None:
    with server(faults=FaultPlan()) as at:
        project.ran(at)
    (project.folder / "rows.jsonl").write_text(content)
    plain = project.synth("compile", "rows.recipe")
    foreseen = project.synth("compile", "rows.recipe", *LOG)
    for told in (plain, foreseen):
        assert told.status == 0
        assert "each of the 0 rows of tickets" in told.out
        assert "0 calls to make." in told.out
    said = "write some" if content else "write rows"
    assert f"{said} into it, or leave the source out; `synth run` stops there" in foreseen.err


def test_rows_are_new_changed_and_as_before(project: Project) -> None:
    with server(faults=FaultPlan()) as at:
        assert "source tickets: 12 rows, 12 new\n" in project.run(at).out
        assert "source tickets: 12 rows, all in the log before\n" in project.run(at).out
        table = [numbered(number, licence="mit") for number in range(2, 12)]
        table[3]["body"] = "mended"
        project.table([*table, numbered(20), numbered(21)])
        foreseen = project.synth("compile", "rows.recipe", *LOG).out
        assert "each of the 12 rows of tickets (2 new, 10 changed, 2 gone)\n" in foreseen
        said = "source tickets: 12 rows, 2 new, 10 changed, 2 gone\n"
        assert said in project.run(at).out
        table[3]["body"] = "mended again"
        project.table([*table, {**numbered(20), "beside": 1}, numbered(21)])
        told = project.run(at, "--json").json()["sources"]["tickets"]
        assert told == {"rows": 12, "new": 0, "changed": 1, "same": 11, "gone": 0}


def test_a_log_that_is_there_is_offered(project: Project) -> None:
    hint = "`--log synth.duckdb` counts only what that log does not hold yet."
    assert hint not in project.synth("compile", "rows.recipe").out
    with server(faults=FaultPlan()) as at:
        project.ran(at)
    assert project.synth("compile", "rows.recipe").out.splitlines()[-1] == hint
    assert hint not in project.synth("compile", "rows.recipe", *LOG).out


def test_a_forecast_needs_no_client(project: Project, openai_server: OpenAIServer) -> None:
    """Neither of the packages that a service is asked with, nor a key."""
    with server(faults=FaultPlan()) as at:
        project.ran(at)
    project.table(map(numbered, range(14)))
    (project.folder / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import importlib.metadata
            import sys
            from importlib.machinery import PathFinder

            GONE = ("openai", "aiohttp", "google", "genai_prices")
            find, version = PathFinder.find_spec, importlib.metadata.version

            def found(name, path=None, target=None):
                return None if name.partition(".")[0] in GONE else find(name, path, target)

            def there(name):
                if name == "genai-prices":
                    raise importlib.metadata.PackageNotFoundError(name)
                return version(name)

            PathFinder.find_spec = staticmethod(found)
            importlib.metadata.version = there
            """
        )
    )
    env = {"PYTHONPATH": f"{project.folder}{os.pathsep}{environment()['PYTHONPATH']}"}
    for model in ("openai:one", "gemini:gemini-2.5-flash"):
        named = ("--model", f"one={model}")
        told = synth("compile", "rows.recipe", *LOG, *named, cwd=project.folder, env=env)
        assert told.status == 0, told.err
        assert f"{2 if model == 'openai:one' else 14} calls to make." in told.out
        assert f"No price of `one` ({model}) is known: pip install " in told.out
    stopped = synth("run", "rows.recipe", cwd=project.folder, env=env)
    assert stopped.status == 1
    assert "the openai backend needs `openai`, which is not installed" in stopped.err


def test_a_file_that_is_another_by_now_is_told_of(project: Project) -> None:
    with server(faults=FaultPlan()) as at:
        project.ran(at)
        for command in ("materialize rows.recipe", "status", "status --json"):
            assert project.synth(*command.split()).err == ""
        # As long as it was.
        text = (project.folder / "rows.jsonl").read_text()
        (project.folder / "rows.jsonl").write_text(text.replace("number 7", "number 8"))
        said = (
            "warning: rows.jsonl is not what the log has read of `tickets`: `synth run` takes it as it is\n"
        )
        for command in ("materialize rows.recipe", "status"):
            assert project.synth(*command.split()).err == said
        assert len(project.synth("status", "--json").json()["outdated"]) == 1
        # A file that is gone is no other one, nor was the one of an earlier event.
        assert "not what" not in project.synth("materialize", "rows.recipe", "--as-of", "40", "--partial").err
        project.ran(at)
        (project.folder / "rows.jsonl").unlink()
        assert project.synth("materialize", "rows.recipe").err == ""
        assert project.synth("status").err == ""
