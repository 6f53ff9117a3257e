from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.cli import terminal
from synth.cli.options import json_option

if TYPE_CHECKING:
    from synth.store.rescue.doctor import Diagnosis


@click.command(short_help="Say what state a log is in, and save what can be had of it.")
@click.argument("log", type=click.Path(path_type=Path), default=Path("synth.duckdb"))
@click.option(
    "--salvage",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="NEW",
    help="Write what holds of a damaged log to a new one.",
)
@json_option
def command(log: Path, target: Path | None, as_json: bool) -> None:
    """Say what state a log is in: healthy, short of events, damaged, not begun or not a log.

    Every event is hashed again, and what its witness saw is compared.  Nothing is written, but with
    --salvage NEW a new log: what holds from the beginning on, and behind a fault what holds by
    itself, with an `event.lost` in the place of each event that is lost.  The old one is left as it is.

    Exit status: 0 healthy, or salvaged; 1 NEW cannot be written, or not of a healthy log; 5 anything else.
    """
    from synth.store.rescue.doctor import State, diagnose

    if target is not None:
        _salvage(log, target, as_json)
        return
    diagnosis = diagnose(log)
    if as_json:
        terminal.as_json(_as_json(diagnosis))
    else:
        _print(diagnosis)
    if diagnosis.state is not State.HEALTHY:
        raise SystemExit(5)


def _salvage(log: Path, target: Path, as_json: bool) -> None:
    from synth.base.errors import ConfigError, LogError
    from synth.store.log.location import real
    from synth.store.rescue.doctor import State, diagnose, holding, summary
    from synth.store.rescue.salvage import salvage

    file, diagnosis = real(log), diagnose(log)
    if diagnosis.state is State.HEALTHY:
        raise ConfigError(f"{log} is healthy, so there is nothing to salvage: {target} is not written")
    if diagnosis.state is not State.DAMAGED or not file.is_file():
        raise LogError(f"{'; '.join(diagnosis.sentences)}; nothing is written")
    with holding(log, file):
        kept = salvage(log, file, target)
    if as_json:
        terminal.as_json({"log": str(target), **asdict(kept)})
        return
    terminal.say(f"{target}: {summary(kept)}")
    if kept.lost:
        terminal.say(
            f"the lost events stand in it as `event.lost`, and `synth run --log {target}` makes anew what "
            "is missing"
        )


def _as_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "state": diagnosis.state.value,
        "said": diagnosis.sentences,
        **diagnosis.facts,
        **({"salvage": asdict(diagnosis.salvage)} if diagnosis.salvage is not None else {}),
    }


def _print(diagnosis: Diagnosis) -> None:
    for sentence in diagnosis.sentences:
        terminal.say(sentence)
    facts = {name: value for name, value in diagnosis.facts.items() if value not in (None, [])}
    if facts:
        terminal.say()
    for name, value in facts.items():
        shown = (
            ", ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
        )
        terminal.say(f"  {name}: {shown}")
