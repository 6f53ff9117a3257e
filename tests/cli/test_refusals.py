"""Whatever is wrong, one sentence that says what to do, and an honest exit status."""

from __future__ import annotations

import resource
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.cli.doors import call
from tests.kit.models.fixtures import needs
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import (
    PERSONA,
    QUICKSTART,
    REVISION,
    command,
    environment,
    one_sentence,
    query,
    started,
    synth,
)
from tests.runtime.test_run import PERSONA_ON_OPENAI, persona, served


@pytest.mark.parametrize("name", ["run", "compile", "materialize", "replay", "check"])
def test_a_recipe_that_is_not_there(tmp_path: Path, name: str) -> None:
    sentence = one_sentence(synth(name, "nowhere.recipe", cwd=tmp_path), 1)
    assert "nowhere.recipe" in sentence


def test_a_recipe_with_faults_is_quoted(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.recipe"
    recipe.write_text(QUICKSTART.read_text("utf-8").replace("turn question", "trun question"))
    for name in ("run", "compile", "materialize", "replay", "check"):
        result = synth(name, recipe, cwd=tmp_path)
        assert result.status == 1
        assert "error[E103]: a conversation holds no `trun`" in result.err
        assert "did you mean `turn`?" in result.err
        assert "Traceback" not in result.err
        assert not (tmp_path / "synth.duckdb").exists()


def test_logs_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("no database\n" * 500)
    for name in ("run", "materialize", "replay"):
        arguments = ("--simulate",) if name == "run" else ()
        sentence = one_sentence(synth(name, *persona(3), "--log", "text.duckdb", *arguments, cwd=tmp_path), 5)
        assert "is not a DuckDB file" in sentence
    for name in ("materialize", "replay"):
        assert "there is no log at" in one_sentence(synth(name, *persona(3), cwd=tmp_path), 5)
    for question in (["status"], ["show", "abc"], ["sql", "SELECT 1"]):
        assert "there is no log at" in one_sentence(synth(*question, cwd=tmp_path), 5)


def test_a_log_that_another_process_writes(tmp_path: Path, openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 30.0
    env = served(openai_server)
    with started("run", *persona(50, *PERSONA_ON_OPENAI), cwd=tmp_path, env=env) as holder:
        while openai_server.total == 0 or not (tmp_path / "progress.json").exists():
            assert holder.poll() is None
        for arguments in (("run", *persona(50, *PERSONA_ON_OPENAI)), ("materialize", *persona(50))):
            sentence = one_sentence(synth(*arguments, cwd=tmp_path, env=env), 5)
            assert f"is being written by process {holder.pid}" in sentence
        status = synth("status", cwd=tmp_path)
        assert status.status == 0, status.err
        assert f"persona: running in process {holder.pid}" in status.out


def test_a_disk_that_fills_up_while_a_run_commits(tmp_path: Path) -> None:
    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    arguments = persona(3000, "--simulate")
    done = subprocess.run(
        command("run", *arguments, "--json"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=small_disk,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    (sentence,) = (line for line in done.stderr.splitlines() if not line.startswith("warning"))
    assert "the log cannot be written" in sentence
    assert "make room and run again" in sentence
    kept = query(tmp_path / "synth.duckdb", "SELECT count(*) FROM events WHERE kind = 'call.completed'")[0][0]
    assert kept > 0
    again = synth("run", *arguments, "--json", cwd=tmp_path).json()
    assert again["outcome"] == "finished"
    made = sum(step["completed"] for step in again["steps"])
    assert made + kept >= 12_000
    assert query(
        tmp_path / "synth.duckdb",
        """SELECT count(*) - count(DISTINCT payload ->> 'call_key') FROM events
           WHERE kind = 'call.completed'""",
    ) == [(0,)]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("author=openai:gpt-4o", ["OPENAI_API_KEY"]),
        ("author=gemini:gemini-2.5-flash", ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ],
)
def test_a_key_that_is_missing_is_named(tmp_path: Path, model: str, names: list[str]) -> None:
    sentence = one_sentence(
        synth("run", *persona(3), "--model", model, "--model", "base=simulated:b", cwd=tmp_path), 1
    )
    assert all(name in sentence for name in names)
    assert not (tmp_path / "synth.duckdb").exists()


def test_a_model_that_a_server_does_not_know(tmp_path: Path) -> None:
    with OpenAIServer(models=frozenset({"large"})) as server:
        sentence = one_sentence(
            synth("run", *persona(3, *PERSONA_ON_OPENAI), cwd=tmp_path, env=served(server)), 1
        )
        assert "small" in sentence
    with GeminiServer(models=frozenset({"none"})) as gemini:
        sentence = one_sentence(
            synth(
                "run",
                *persona(3, "--model", "base=simulated:b"),
                cwd=tmp_path,
                env={"GOOGLE_GEMINI_BASE_URL": gemini.base_url, "GEMINI_API_KEY": "secret-k"},
            ),
            1,
        )
        assert "gemini-2.5-flash" in sentence
        assert "secret-k" not in sentence


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_a_local_model_that_is_not_there(tmp_path: Path, backend: str) -> None:
    needs(backend)
    sentence = one_sentence(
        synth(
            "run",
            *persona(3, "--model", "author=simulated:a", "--model", f"base={backend}:/nowhere/at/all@1"),
            cwd=tmp_path,
            env={"HF_HUB_OFFLINE": "1"},
        ),
        1,
    )
    assert "/nowhere/at/all" in sentence


@pytest.mark.parametrize(
    ("backend", "module", "line"),
    [
        ("openai:gpt-4o", "openai", "'openai<4,>=3.50'"),
        ("gemini:gemini-2.5-flash", "google.genai", "'google-genai<4,>=3.3'"),
        ("vllm:some/model@1", "vllm", "pip install 'vllm>=0.32'"),
        ("transformers:some/model@1", "transformers", "'transformers<5.20,>=5.16.1'"),
        ("pocket:", "transformers", "pip install"),
    ],
)
def test_an_extra_that_is_not_installed(tmp_path: Path, backend: str, module: str, line: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            from importlib.machinery import PathFinder

            find = PathFinder.find_spec

            def find_spec(name, path=None, target=None):
                absent = name == {module!r} or name.startswith({module + "."!r})
                return None if absent else find(name, path, target)

            PathFinder.find_spec = staticmethod(find_spec)
            """
        )
    )
    env = environment({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"})
    done = subprocess.run(
        command("run", *persona(3, "--model", "author=simulated:a", "--model", f"base={backend}")),
        cwd=tmp_path,
        env={**env, "PYTHONPATH": f"{tmp_path}:{env['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "base"), "write NAME=BACKEND:ID"),
        (("--model", "bsae=openai:gpt-4o"), "did you mean `base`?"),
        (("--model", "base=opnai:gpt-4o"), "did you mean `openai`?"),
        (("--model", "base=openai:"), "say which model"),
        (("--pocket", "--simulate"), "give one of them"),
    ],
)
def test_models_mapped_wrongly(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in one_sentence(synth("run", *persona(3), *arguments, cwd=tmp_path), 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.base\n", "cannot be read"),
        ("[modles]\n", "synth.toml:1: there is no setting `modles`; did you mean `models`?"),
        ("models = 3\n", "synth.toml:1: `models` is wrong: it takes a table of settings"),
        ("[models.base]\nid = 3\n", "synth.toml:2: `models.base.id` is wrong: it takes a text in quotes"),
        ("[prices.x]\ninput = 1\n", "synth.toml:1: `prices.x.output` is missing"),
        (
            '[prices."x"]\noutput = 1\ninput = "much"\n',
            "synth.toml:3: `prices.x.input` is wrong: it takes a number",
        ),
    ],
)
def test_settings_with_faults(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.recipe").write_text(QUICKSTART.read_text("utf-8"))
    (tmp_path / "synth.toml").write_text(text)
    for command_ in ("check", "compile", "run"):
        assert said in one_sentence(call(command_, "q.recipe", cwd=tmp_path), 1)


OPENAI = '[models.base]\nbackend = "openai"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[models.base]\nbackend = "opnai"\nid = "x"\n',
            "synth.toml:2: model `base`: there is no backend `opnai`; did you mean `openai`?",
        ),
        (OPENAI, "synth.toml:1: model `base`: say which model openai is to run, as its `id`"),
        (
            f'# base_ulr = 1\n{OPENAI}id = "x"\n\nbase_ulr = "a"\n',
            "synth.toml:6: model `base`: the openai backend has no option `base_ulr`; did you mean `base_ur",
        ),
        (
            f'{OPENAI}id = "x"\nconcurrency = 0\n',
            "synth.toml:4: model `base`: option `concurrency` is wrong: it has to be 1 or more",
        ),
        (
            f'{OPENAI}id = "x"\nomit = "seed"\n',
            "synth.toml:4: model `base`: option `omit` is wrong: it takes a list",
        ),
        (
            f'{OPENAI}id = "x"\nomit = ["seed", "sed"]\n',
            "synth.toml:4: model `base`: option `omit` is wrong: item 2 has to be 'seed', 'temperature'",
        ),
    ],
)
def test_models_that_cannot_run_are_said_before_a_run(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.recipe").write_text(QUICKSTART.read_text("utf-8"))
    (tmp_path / "synth.toml").write_text(text)
    for command_ in ("check", "compile", "run"):
        assert said in one_sentence(call(command_, "q.recipe", cwd=tmp_path), 1)
    # What else is mapped does not go by it, and what no recipe needs is not looked at.
    simulated = call("compile", "q.recipe", "--simulate", cwd=tmp_path)
    assert (simulated.status, simulated.err) == (0, "")
    (tmp_path / "synth.toml").write_text(text.replace("models.base", "models.another"))
    assert call("compile", "q.recipe", cwd=tmp_path).err == ""


def test_a_simulation_is_checked_and_names_that_are_nearly_right_are_said(tmp_path: Path) -> None:
    (tmp_path / "q.recipe").write_text(QUICKSTART.read_text("utf-8"))
    (tmp_path / "synth.toml").write_text('[models.bsae]\nbackend = "pocket"\n\n[simulate]\nlatncy = 1\n')
    for command_ in (("check",), ("compile",), ("compile", "--graph"), ("check", "--format", "json")):
        told = call(*command_, "q.recipe", cwd=tmp_path)
        assert told.status == 0
        assert told.err == "warning: synth.toml:1: the recipe has no model `bsae`; did you mean `base`?\n"
    sentence = one_sentence(call("compile", "q.recipe", "--simulate", cwd=tmp_path), 1)
    assert (
        "synth.toml:5: model `base`: the simulated backend has no option `latncy`; did you mean" in sentence
    )


def test_usage_faults_exit_with_2(tmp_path: Path) -> None:
    for arguments, said in (
        (("rnu",), "did you mean `run`?"),
        (("run",), "Missing argument"),
        (("run", PERSONA, "--set", "x"), "write NAME=VALUE"),
        (("run", PERSONA, "--limit", "0"), "--limit"),
        (("run", PERSONA, "--limit", "x"), "Invalid value for '--limit': 'x' is no whole number"),
        (("run", PERSONA, "--grace", "x"), "'x' is no number of seconds"),
        (("compile", PERSONA, "--log"), "--log needs a value: --log PATH"),
        (("check", QUICKSTART, "--set", "conversations=x"), "is a count; `x` is not"),
        (("--wrong",), "No such option"),
    ):
        result = call(*arguments, cwd=tmp_path)
        assert result.status == 2, result.err
        assert said in result.err
        assert result.err.startswith(("Usage: synth", "error[E602]")), result.err


def test_help_is_no_error(tmp_path: Path) -> None:
    alone = call(cwd=tmp_path)
    assert (alone.status, alone.err) == (0, "")
    assert "  run          Generate until every quota is met.\n" in alone.out


def test_overrides_are_typed(tmp_path: Path) -> None:
    for given, said in (
        ("conversations=many", "`conversations` is a count; `many` is not"),
        ("converstaions=3", "did you mean `conversations`?"),
    ):
        result = call("compile", PERSONA, *REVISION, "--set", given, cwd=tmp_path)
        assert result.status == 2
        assert "error[E602]" in result.err
        assert said in result.err
    looked_at = synth("compile", PERSONA, cwd=tmp_path)
    assert looked_at.status == 0
    assert "note: `base_revision` must be given for a run" in looked_at.err
    for arguments in (("run", PERSONA), ("compile", PERSONA, "-o", "plan.json"), ("materialize", PERSONA)):
        result = synth(*arguments, cwd=tmp_path)
        assert result.status == 1
        assert "error[E601]: `base_revision` has no value" in result.err


def test_verify_of_what_is_no_dataset(tmp_path: Path) -> None:
    assert "holds no manifest.json" in one_sentence(synth("verify", tmp_path, cwd=tmp_path), 1)


def test_a_broken_pipe_is_no_traceback(tmp_path: Path) -> None:
    shell = " ".join(command("compile", PERSONA, *REVISION)) + " | head -1"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
