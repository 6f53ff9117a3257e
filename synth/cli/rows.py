"""Conversations for a terminal: wrapped to its width, coloured by role, with what was refused and why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.base.display import char_width, text_width, visible
from synth.cli import terminal

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan
    from synth.store.dataset.inputs.messages import Message
    from synth.store.dataset.inputs.samples import LoggedSample, Refusal

# Lines of one text; refused answers get fewer.
_LINES = 12
_REFUSED_LINES = 3
# Conversations of one recipe, and samples in all.
_COHORTS = 6
_SAMPLES = 3
_LOST = 2
_INDENT = 2
# What a role's name takes in columns, where there is room for it beside the text.
_GUTTER = 9
_NARROW = 50
_COLORS = {"system": "yellow", "user": "cyan", "model": "green", "tool": "magenta"}


def print_samples(plan: Plan, log: Path, run_id: str | None = None, *, lost: bool = True) -> None:
    """A few samples of each conversation, those of one run first, and of what was `lost`."""
    from synth.base.errors import QuotaShort
    from synth.store.dataset.inputs.samples import logged_samples
    from synth.store.dataset.inputs.select import config_hash_of
    from synth.store.log.log import Log

    trained = False
    each = max(1, _SAMPLES // max(1, len(plan.cohorts)))
    width = shutil.get_terminal_size((100, 24)).columns
    with Log(log, deep=False) as opened:
        cursor = opened.cursor()
        for cohort in plan.cohorts[:_COHORTS]:
            try:
                config_hash, _ = config_hash_of(plan, cohort, cursor, opened.next_seq)
            except QuotaShort:
                continue
            for gone, most in ((False, each), (True, _LOST if lost else 0)):
                for sample in logged_samples(
                    cohort, config_hash, cursor, most=most, run_id=run_id, lost=gone
                ):
                    trained |= any(message["weight"] for _, message in sample.turns)
                    terminal.say()
                    for line in sample_lines(sample, width):
                        terminal.styled(line)

    if trained:
        terminal.say("", "  * trained on; `synth show ID` tells a sample's whole story")


def sample_lines(sample: LoggedSample, width: int) -> Iterator[str]:
    """One sample as lines that fit into so many columns."""
    labels = ", ".join(sample.cell.values())
    title = f"{sample.cohort}  {sample.id}" + (f"  {labels}" if labels else "")
    yield from (click.style(line, bold=True) for line in wrapped(title, width, 2))
    refused = list(sample.refused)
    for step, message in sample.turns:
        for refusal in [each for each in refused if each.step == step]:
            refused.remove(refusal)
            yield from _refusal(refusal, width)
        yield from _message(message, width)
    for refusal in refused:
        yield from _refusal(refusal, width)
    if sample.lost is not None:
        yield from _beside("lost", f"at {sample.lost}", width, _LINES, fg="red", bold=True)


def _message(message: Message, width: int) -> Iterator[str]:
    role = message["role"]
    trained = bool(message["weight"])
    if message.get("thought"):
        yield from _beside("thought", message["thought"], width, _LINES, dim=True)
    name = f"{role} *" if trained else role
    yield from _beside(name, _said(message), width, _LINES, fg=_COLORS.get(role), bold=trained or None)


def _said(message: Message) -> str:
    """What a message says, and below it a line for each call of a tool."""
    from synth.base.canonical import canonical_json

    calls = [f"{call['name']}({canonical_json(call['arguments'])})" for call in message.get("calls", ())]
    return "\n".join(filter(None, [message["content"], *calls])) if calls else str(message["content"])


def _refusal(refusal: Refusal, width: int) -> Iterator[str]:
    why = f"{refusal.step} by {refusal.check}: {refusal.reason}"
    yield from _beside("refused", why, width, _REFUSED_LINES, fg="red")
    if refusal.text is not None:
        yield from _beside("", refusal.text.strip() or "(nothing)", width, _REFUSED_LINES, dim=True)


def _beside(name: str, text: str, width: int, most: int, **style: Any) -> Iterator[str]:
    """A text with a name at its left, or above it where the terminal is narrow."""
    dim = style.pop("dim", None)
    if narrow := width < _NARROW:
        if name:
            yield " " * _INDENT + click.style(name, dim=dim, **style)
        name = ""
    left = _INDENT + (_INDENT if narrow else _GUTTER)
    for number, line in enumerate(wrapped(text, max(width - left, 10), most)):
        shown = name if number == 0 else ""
        gap = " " * (left - _INDENT - text_width(shown))
        label = click.style(shown, dim=dim, **style) if shown else ""
        yield (" " * _INDENT + label + gap + (click.style(line, dim=True) if dim else line)).rstrip()


def wrapped(text: str, width: int, most: int) -> list[str]:
    """A text in lines of so many columns, at most so many of them: broken at spaces where it can be,
    with what would act on a terminal made visible."""
    # What is beyond cannot be shown whatever the characters are.
    cut = text[: (most + 1) * width]
    lines: list[str] = []
    for paragraph in cut.replace("\r\n", "\n").split("\n"):
        lines += _filled(visible(paragraph.replace("\t", "    ")), width)
        if len(lines) > most:
            break
    if len(lines) > most or len(cut) < len(text):
        lines = lines[:most]
        last = lines[-1]
        while text_width(last) > width - 2:
            last = last[:-1]
        lines[-1] = f"{last} …"
    return lines


def _filled(text: str, width: int) -> list[str]:
    """One paragraph of visible characters."""
    lines, start, column, space = [], 0, 0, -1
    for index, char in enumerate(text):
        column += char_width(char)
        if char == " ":
            space = index
        if column > width:
            end = space if space > start else index
            lines.append(text[start:end].rstrip())
            start = end + 1 if end == space else end
            column = text_width(text[start : index + 1])
    return [*lines, text[start:]]
