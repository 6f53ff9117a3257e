"""A dataset against its manifest, and against the log it says it comes from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from compiler.plan import Plan
from dsl.errors import ConfigError, Diverged
from dsl.version import VERSION
from store.dataset import materialize
from store.event import Kind
from store.files import file_hash
from store.folder import MANIFEST
from store.log import Log


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset.  Raises ConfigError when there is none to read."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} holds no {MANIFEST}: name a folder that `synth materialize` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ConfigError(f"{path} is no manifest of a dataset")
    return manifest


def verify_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises Diverged for the first file that is not as the manifest says."""
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise Diverged(f"{path} is missing")
        if file_hash(path) != entry["sha256"]:
            raise Diverged(f"{path} was changed after it was written: its sha256 is not the manifest's")


def verify_against_log(folder: Path, manifest: Mapping[str, Any], log: Log, plan: Plan | None = None) -> None:
    """Materializes the dataset again from the log and compares.

    The plan is the one that the log registered.  `plan` is what the dataset was made of, where no
    run of the log had it: one whose mix or export was changed since.  The same versions of synth
    and DuckDB must give the same bytes.  Others must give the same rows and say the same of them:
    what else a version tells, on the card for example, is its own.  Raises Diverged.
    """
    versions = {"synth": VERSION, "duckdb": duckdb.__version__}
    same_versions = manifest.get("versions") == versions
    if plan is None:
        plan = logged_plan(log, manifest["plan_hash"])
    elif same_versions and plan.plan_hash != manifest["plan_hash"]:
        raise Diverged(f"{folder} was made by another plan than that of the recipe given")
    position = manifest["log"]
    if position["events"] > log.next_seq:
        raise Diverged(
            f"{folder} was made from {position['events']} events, and {log.path} has {log.next_seq}"
        )
    with tempfile.TemporaryDirectory(prefix="synth-verify-") as temporary:
        again = materialize(
            plan,
            log,
            Path(temporary),
            as_of=position["events"] - 1,
            partial=True,
            only=manifest["export"],
            written_by=position.get("chosen"),
        )[0].manifest
    if again["log"] != position:
        raise Diverged(f"{log.path} is another log than the one {folder} was made from")
    held = _files if same_versions else _content
    then, now = held(manifest), held(again)
    for name in now | then:
        if then.get(name) != now.get(name):
            raise Diverged(f"{folder / name} is not what {log.path} gives at event {position['events'] - 1}")
    # The plan was found by its hash, which another version may make otherwise.
    agree, told = (_equal, {**manifest, **again}) if same_versions else (_told, manifest)
    for part in sorted(told.keys() - {"files", "versions", "plan_hash", "format"}):
        if not agree(manifest.get(part), again.get(part)):
            raise Diverged(f"{folder / MANIFEST} was changed: its `{part}` is not what {log.path} gives")


def _files(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The sha256 of every file."""
    return {name: entry.get("sha256") for name, entry in manifest["files"].items()}


def _content(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of every file that has any: how many, and the sha256 of their text."""
    return {
        name: (entry["rows"], entry.get("content_sha256"))
        for name, entry in manifest["files"].items()
        if entry.get("rows")
    }


def _equal(then: Any, now: Any) -> bool:
    return bool(then == now)


def _told(then: Any, now: Any) -> bool:
    """Whether what another version told of a dataset is told now; more may be told besides."""
    if isinstance(then, dict) and isinstance(now, dict):
        return all(key in now and _told(value, now[key]) for key, value in then.items())
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(_told, then, now))
    return _equal(then, now)


def logged_plan(log: Log, plan_hash: str) -> Plan:
    """A plan by its hash, from the event that registered it.  Raises Diverged when there is none."""
    row = (
        log.cursor()
        .execute(
            "SELECT payload -> 'plan' FROM events WHERE kind = ? AND (payload ->> 'plan_hash') = ? LIMIT 1",
            [Kind.PLAN_REGISTERED.value, plan_hash],
        )
        .fetchone()
    )
    if row is None:
        raise Diverged(
            f"{log.path} never ran the plan {plan_hash[:12]} that this dataset names: if its mix, `keep` or "
            "export was changed after the run, name the recipe with --recipe"
        )
    return Plan.from_json(row[0])
