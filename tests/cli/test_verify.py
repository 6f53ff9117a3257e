"""`verify` takes any manifest for what it is, and `show` and `sql` say when the log is not as written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.kit.support import QUICKSTART, one_sentence, rows, synth

FEW = (QUICKSTART, "--set", "conversations=4")
DEEP = "[" * 10_000 + "]" * 10_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of four simulated samples and the dataset made of them."""
    folder = tmp_path_factory.mktemp("made")
    assert synth("run", *FEW, "--simulate", cwd=folder).status == 0
    assert synth("materialize", *FEW, cwd=folder).status == 0
    return folder


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of the dataset."""
    return Path(shutil.copytree(made / "out/quickstart", tmp_path / "dataset"))


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], str]:
    def change(manifest: dict[str, Any]) -> str:
        place = manifest
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        return json.dumps(manifest)

    return change


def _without(*path: str) -> Callable[[dict[str, Any]], str]:
    def change(manifest: dict[str, Any]) -> str:
        place = manifest
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return json.dumps(manifest)

    return change


def _renamed(name: str) -> Callable[[dict[str, Any]], str]:
    def change(manifest: dict[str, Any]) -> str:
        manifest["files"][name] = manifest["files"].pop("train.jsonl")
        return json.dumps(manifest)

    return change


MANIFESTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "nothing": lambda manifest: "",
    "a number": lambda manifest: "7",
    "a list": lambda manifest: "[]",
    "nested": lambda manifest: DEEP,
    "nested inside": lambda manifest: json.dumps(manifest)[:-1] + f', "more": {DEEP}}}',
    "no plan": _without("plan_hash"),
    "no log": _without("log"),
    "no files": _without("files"),
    "no sha256": _without("files", "train.jsonl", "sha256"),
    "no events": _without("log", "events"),
    "no export": _without("export"),
    "another export": _set("export", to="\u202eother\x1b[31m"),
    "an export that is a list": _set("export", to=["train"]),
    "a plan that is a number": _set("plan_hash", to=12),
    "a plan of lone surrogates": _set("plan_hash", to="\udc80" * 64),
    "another plan": _set("plan_hash", to="0" * 64),
    "a huge position": _set("log", "events", to=10**400),
    "a position beyond 64 bits": _set("log", "events", to=2**70),
    "a position below": _set("log", "events", to=-1),
    "no position": _set("log", "events", to=0),
    "a true position": _set("log", "events", to=True),
    "an infinite position": _set("log", "events", to=float("inf")),
    "a position that is text": _set("log", "events", to="12"),
    "another head": _set("log", "head", to={"a": 1}),
    "models that are none": _set("log", "chosen", to=["base"]),
    "a model of lists": _set("log", "chosen", to={"base": {"id": [1]}}),
    "a model unknown": _set("log", "chosen", to={"base": {"id": "other"}}),
    "versions that are a list": _set("versions", to=[1, 2]),
    "an entry that is text": _set("files", "train.jsonl", to="abc"),
    "rows that are text": _set("files", "train.jsonl", "rows", to="4"),
    "a hash that is none": _set("files", "train.jsonl", "sha256", to=["a"]),
    "a source that is a list": _set("source", to=[[1], {}]),
    "one part too many": _set("more \x1b[2J", to={"a": [None]}),
    "a climbing path": _renamed("../secret"),
    "an absolute path": _renamed("/etc/passwd"),
    "a device": _renamed("/dev/zero"),
    "the folder": _renamed("."),
    "the folder above": _renamed(".."),
    "no name": _renamed(""),
    "a name with a lone surrogate": _renamed("train\ud800.jsonl"),
    "a name with a null": _renamed("train\0.jsonl"),
    "a name that is too long": _renamed("t" * 5000),
    "a name with an escape": _renamed("\x1b]0;train\x07"),
    "a file that is missing": _renamed("other.jsonl"),
}


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_any_manifest_gets_one_sentence(
    made: Path, dataset: Path, change: Callable[[dict[str, Any]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, as the command does it: starting forty of them would take long."""
    from click.testing import CliRunner

    from synth.base.errors import ConfigError, Diverged
    from synth.cli import cli

    path = dataset / "manifest.json"
    path.write_text(change(json.loads(path.read_text("utf-8"))), "utf-8")
    (dataset.parent / "secret").write_text("a secret")
    opened: list[str] = []
    really = Path.open

    def watched(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(str(self.resolve()))
        return really(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    done = CliRunner().invoke(cli, ["verify", str(dataset), "--log", str(made / "synth.duckdb")])
    assert isinstance(done.exception, ConfigError | Diverged), done.exception
    said = str(done.exception)
    assert "\n" not in said
    assert "\x1b" not in said
    # What is materialized again to be compared is written elsewhere.
    assert not [name for name in opened if "secret" in name or name.startswith(("/etc", "/dev"))]


def test_a_manifest_as_it_was_holds(made: Path, dataset: Path) -> None:
    result = synth("verify", dataset, "--log", made / "synth.duckdb", cwd=made)
    assert result.status == 0, result.err
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob(f".synth-verify.synth-{os.getpid()}*"))


def test_links_that_lead_out_are_not_followed(dataset: Path, tmp_path: Path) -> None:
    train = dataset / "train.jsonl"
    elsewhere = tmp_path / "train.jsonl"
    train.rename(elsewhere)
    train.symlink_to(elsewhere)
    assert "leads out of the folder" in one_sentence(synth("verify", dataset, cwd=tmp_path), 4)
    train.unlink()
    train.symlink_to("train.jsonl")
    assert "a link" in one_sentence(synth("verify", dataset, cwd=tmp_path), 4)
    train.unlink()
    os.mkfifo(train)
    assert "is no file" in one_sentence(synth("verify", dataset, cwd=tmp_path, timeout=60), 4)
    manifest = dataset / "manifest.json"
    manifest.rename(tmp_path / "manifest.json")
    manifest.symlink_to(tmp_path / "manifest.json")
    assert "no plain file of the folder" in one_sentence(synth("verify", dataset, cwd=tmp_path), 1)
    manifest.unlink()
    os.mkfifo(manifest)
    assert "no plain file of the folder" in one_sentence(synth("verify", dataset, cwd=tmp_path), 1)


def _altered(made: Path, tmp_path: Path, change: str) -> tuple[Path, str]:
    """A copy of the log with one payload altered, and the id of the sample it is of."""
    log = Path(shutil.copy(made / "synth.duckdb", tmp_path / "synth.duckdb"))
    with duckdb.connect(str(log)) as connection:
        (seq, sample) = connection.execute(
            "SELECT seq, sample_id FROM events WHERE kind = 'call.completed' ORDER BY seq LIMIT 1"
        ).fetchall()[0]
        connection.execute(f"UPDATE events SET payload = {change} WHERE seq = ?", [seq])
    return log, str(sample)


def test_show_and_sql_say_when_a_payload_does_not_hash(made: Path, tmp_path: Path) -> None:
    log, sample = _altered(made, tmp_path, 'json_merge_patch(payload, \'{"text": "never said"}\')')
    shown = synth("show", sample, "--log", log, cwd=tmp_path)
    assert "never said" in shown.out
    assert "may not be what was written" in one_sentence(shown, 5)
    asked = synth("sql", "SELECT count(*) AS n FROM events", "--json", "--log", log, cwd=tmp_path)
    assert asked.json()[0]["n"] > 0
    assert "its events were altered" in one_sentence(asked, 5)
    other = rows(made / "out/quickstart/train.jsonl")[-1]["id"]
    untouched = synth("show", other, "--log", made / "synth.duckdb", cwd=tmp_path)
    assert untouched.status == 0, untouched.err


def test_show_of_a_payload_that_is_none_is_a_sentence(made: Path, tmp_path: Path) -> None:
    log, sample = _altered(made, tmp_path, "'[1]'")
    assert "cannot be told" in one_sentence(synth("show", sample, "--log", log, cwd=tmp_path), 5)


def test_two_logs_in_a_folder_have_a_progress_each(tmp_path: Path) -> None:
    assert synth("run", *FEW, "--simulate", cwd=tmp_path).status == 0
    usual = (tmp_path / "progress.json").read_bytes()
    assert synth("run", *FEW, "--simulate", "--log", "other.duckdb", cwd=tmp_path).status == 0
    assert (tmp_path / "progress.json").read_bytes() == usual
    assert json.loads((tmp_path / "other.duckdb.progress.json").read_text())["state"] == "finished"
