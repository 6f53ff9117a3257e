"""A dataset against its manifest, and against the log it says it comes from."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from synth.base.display import plural, quoted
from synth.base.errors import ConfigError, Diverged, QuotaShort
from synth.base.files import file_hash
from synth.base.leftovers import draft, sweep
from synth.base.version import VERSION
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.manifest import MANIFEST, current, fault_of, is_within, load
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.forgotten import earlier_heads
from synth.store.log.log import Log


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset.  Raises ConfigError when there is none, or none that can be used."""
    manifest = load(folder)
    if (fault := fault_of(manifest)) is not None:
        raise ConfigError(f"{folder / MANIFEST} is no manifest of a dataset: {fault}")
    return current(manifest)


def verify_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises Diverged for the first file that is not as the manifest says.  Nothing outside of the
    folder is opened."""
    for name, entry in manifest["files"].items():
        path = folder / name
        if not is_within(path, folder):
            raise Diverged(f"{path} is a link that leads out of the folder: materialize the dataset again")
        if not path.is_file():
            raise Diverged(f"{path} is missing" if not path.exists() else f"{path} is no file")
        try:
            found = file_hash(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
        if found != entry["sha256"]:
            raise Diverged(f"{path} was changed after it was written: its sha256 is not the manifest's")


def verify_against_log(folder: Path, manifest: Mapping[str, Any], log: Log, plan: Plan | None = None) -> None:
    """Materializes the dataset again from the log and compares.

    The plan is the one that the log registered.  `plan` is what the dataset was made of, where no
    run of the log had it: one whose mix or export was changed since.  The same versions of synth
    and DuckDB must give the same bytes.  Others must give the same rows and say the same of them:
    what else a version tells, on the card for example, is its own.  Raises Diverged.
    """
    try:
        _compare(folder, manifest, log, plan)
    except RecursionError:
        raise Diverged(f"{folder / MANIFEST} is nested too deeply to be what {log.path} gives") from None


def _compare(folder: Path, manifest: Mapping[str, Any], log: Log, plan: Plan | None) -> None:
    versions = {"synth": VERSION, "duckdb": duckdb.__version__}
    same_versions = manifest.get("versions") == versions
    if plan is None:
        plan = logged_plan(log, manifest["plan_hash"])
    elif same_versions and plan.plan_hash != manifest["plan_hash"]:
        raise Diverged(f"{folder} was made by another plan than that of the recipe given")
    position = manifest["log"]
    if position["events"] > log.next_seq:
        raise Diverged(
            f"{folder} was made from {plural(position['events'], 'event')}, and {log.path} has "
            f"{log.next_seq:,}"
        )
    again = _again(folder, manifest, log, plan)
    rewritten = _as_it_was(again, position, log)
    if again["log"] != position:
        raise Diverged(f"{log.path} is another log than the one {folder} was made from")
    _require_all(folder, manifest, again, log)
    # A card names the hash of the log as it was.
    held = _files if same_versions and not rewritten else _content
    then, now = held(manifest), held(again)
    for name in now | then:
        if then.get(name) != now.get(name):
            raise Diverged(f"{folder / name} is not what {log.path} gives at event {position['events'] - 1}")
    # The plan was found by its hash, which another version may make otherwise.
    agree, told = (_equal, {**manifest, **again}) if same_versions else (_told, manifest)
    for part in sorted(told.keys() - {"files", "versions", "plan_hash", "format"}):
        if not agree(manifest.get(part), again.get(part)):
            raise Diverged(
                f"{folder / MANIFEST} was changed: its {quoted(part)} is not what {log.path} gives"
            )


def _as_it_was(again: Mapping[str, Any], position: Mapping[str, Any], log: Log) -> bool:
    """Gives a position of a log that has forgotten something since the hash that it had before; whether
    it has."""
    now = again["log"]
    rewritten = position.get("head") in earlier_heads(log.cursor(), now["batch"])
    if rewritten:
        now["head"] = position["head"]
    return rewritten


def _require_all(folder: Path, manifest: Mapping[str, Any], again: Mapping[str, Any], log: Log) -> None:
    """Raises Diverged where a dataset has what the log has forgotten since."""
    since = again.get("forgotten", 0) - (manifest.get("forgotten") or 0)
    if since > 0:
        raise Diverged(
            f"{folder} has rows of what {log.path} has forgotten since: materialize it again from "
            "that log, and remove this one"
        )


def _again(folder: Path, manifest: Mapping[str, Any], log: Log, plan: Plan) -> Mapping[str, Any]:
    """The manifest of the dataset as the log gives it now."""
    name, position = manifest["export"], manifest["log"]
    if not any(export.name == name for export in plan.exports):
        raise Diverged(f"{folder} is {quoted(name)}, and the plan it names has no such export")
    place = Path(tempfile.gettempdir()) / "synth-verify"
    sweep(place)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{draft(place).name}-") as work:
            (dataset,) = materialize(
                plan,
                log,
                Path(work),
                as_of=position["events"] - 1,
                partial=True,
                only=name,
                written_by=position.get("chosen"),
            )
    except QuotaShort as short:
        raise Diverged(f"{folder} cannot be made from {log.path}: {short}") from None
    except OSError as error:
        raise ConfigError(f"{place.parent} cannot be written: {error.strerror or error}") from None
    return dataset.manifest


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


def last_plan(log: Log, recipe: str, params: Mapping[str, str]) -> Plan | None:
    """The plan of a recipe that was registered last with some values of parameters, if the log has one that
    can be read."""
    rows = (
        log.cursor()
        .execute(
            f"SELECT {payload_sql.PLAN} FROM events WHERE kind = ? "
            f"AND ({payload_sql.PLAN} ->> 'recipe') = ? ORDER BY seq DESC",
            [Kind.PLAN_REGISTERED.value, recipe],
        )
        .fetchall()
    )
    for (text,) in rows:
        try:
            plan = Plan.from_json(text)
        except ValueError:
            continue
        if all(str(plan.params.get(name)) == value for name, value in params.items()):
            return plan
    return None


def logged_plan(log: Log, plan_hash: str) -> Plan:
    """A plan by its hash, from the event that registered it.  Raises Diverged when there is none."""
    row = (
        log.cursor()
        .execute(
            f"SELECT {payload_sql.PLAN} FROM events WHERE kind = ? AND ({payload_sql.PLAN_HASH}) = ? LIMIT 1",
            [Kind.PLAN_REGISTERED.value, plan_hash],
        )
        .fetchone()
    )
    if row is None:
        raise Diverged(
            f"{log.path} never ran the plan {plan_hash[:12]} that this dataset names: if its mix, `keep` or "
            "export was changed after the run, name the recipe with --recipe"
        )
    try:
        return Plan.from_json(row[0])
    except ValueError:
        raise Diverged(
            f"{log.path} has forgotten the plan {plan_hash[:12]}, or has it in a form that this version of "
            "synth does not read: name the recipe with --recipe"
        ) from None
