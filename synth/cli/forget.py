from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli import terminal
from synth.cli.options import json_option, log_option
from synth.cli.reading import reading

if TYPE_CHECKING:
    from synth.store.forget.rewrite import Forgetting


@click.command(short_help="Write a log anew without a sample, or without what holds a text.")
@click.option("--sample", "samples", multiple=True, metavar="ID", help="A sample, or a row of a source.")
@click.option(
    "--matching",
    multiple=True,
    metavar="TEXT",
    help="A text, letter by letter; `-` reads it from standard input, where no shell keeps it.",
)
@log_option
@click.option(
    "-o",
    "--out",
    "new",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="The new log.  [default: the log's name with `.forgotten` in it]",
)
@json_option
def command(
    samples: tuple[str, ...], matching: tuple[str, ...], log: Path, new: Path | None, as_json: bool
) -> None:
    """Write a log anew without a sample, or without whatever holds a text: a leaked key, a person's data.

    A text is looked for in prompts, answers, thinking, passages, rows of sources, errors, refusals and
    plans, as it is and as JSON escapes it.  A sample that holds it anywhere is forgotten whole, with the
    pairs made from it: its payloads become tombstones that keep their sha256.  Datasets made from the new
    log leave it out, and no run makes it again.  The log itself is not changed.  Names of conversations,
    steps and models stay, and are told of.

    Exit status: 0 written, 1 nothing to forget, 2 usage, 5 trouble with the log.
    """
    from synth.runtime.events.progress import progress_path
    from synth.store.forget.beside import datasets_beside, holds
    from synth.store.forget.rewrite import forget

    texts = [_read() if text == "-" else text for text in matching]
    if not samples and not texts:
        raise click.UsageError("say what to forget: --sample ID or --matching TEXT")
    if not all(texts):
        raise click.UsageError("--matching takes a text; the empty one is in everything")
    new = new or log.with_name(f"{log.stem}.forgotten{log.suffix}")
    with reading(log) as opened:
        done = forget(opened, new, samples=samples, matching=texts)
    holding = datasets_beside(log, done)
    told = progress_path(log)
    held = holds(told, done)
    if as_json:
        terminal.as_json({**_as_json(done, holding), "progress": str(told) if held else None})
        return
    _print(log, done, holding)
    if held:
        terminal.say(f"  {told} still holds it, until a run writes it anew")


def _read() -> str:
    """A text from standard input, without the end of its last line."""
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _as_json(done: Forgetting, holding: dict[Path, list[str]]) -> dict[str, Any]:
    return {
        "log": str(done.new),
        "events": done.events,
        "samples": sorted(done.samples),
        "rows": sorted(done.rows),
        "payloads": done.payloads,
        "redacted": done.redacted,
        "plans": list(done.plans),
        "read_from": list(done.lines),
        "passages_of": list(done.passages),
        "datasets": [str(folder) for folder in holding],
        **({"left": list(done.left), "left_in": done.left_in} if done.left else {}),
    }


def _print(log: Path, done: Forgetting, holding: dict[Path, list[str]]) -> None:
    from synth.cli.output import plural

    parts = [plural(len(done.samples), "sample")] if done.samples else []
    parts += [f"{plural(len(done.rows), 'row')} of sources"] if done.rows else []
    gone = " and ".join(parts) or "no sample"
    terminal.say(
        f"{done.new}: {gone} forgotten, {plural(done.payloads, 'payload')} of {done.events:,} events "
        + ("is a tombstone" if done.payloads == 1 else "are tombstones")
        + (f", texts in {done.redacted:,} more are replaced" if done.redacted else "")
    )
    for plan in done.plans:
        terminal.say(
            f"  the plan {plan[:12]} held it: take it out of the recipe, or the next run asks it again; a "
            "dataset of that plan is verified with --recipe"
        )
    for line in done.lines[:10]:
        terminal.say(f"  it was read from {line}: take it out there, or it is read again")
    if len(done.lines) > 10:
        terminal.say(f"  and from {plural(len(done.lines) - 10, 'more line')}")
    for source in done.passages:
        terminal.say(
            f"  it was in passages of `{source}`: take it out of the documents and remove the "
            "folder of the index, which the next run makes again"
        )
    if done.left:
        terminal.say(
            f"  it is left in {plural(done.left_in, 'event')} of {done.new}, as {', '.join(done.left)}, by "
            "which the log is read: take it out of the recipe, and where that must not stay begin a new log"
        )
    for folder, parts in holding.items():
        where = "" if "rows" in parts else f" in its {' and '.join(parts)}"
        rename = ", under another name," if "name" in parts else ""
        terminal.say(f"  {folder} still holds it{where}: materialize it again{rename} from {done.new}")
    terminal.say(
        f"  {log} still holds it, and is as it was: go on with --log {done.new}, and delete {log}, its "
        "`.wal`, `.witness` and every copy"
    )
