"""Pass: what is legal and has no effect.  Warns, once the rest is right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Bound, Conversation, Step, Tool
from synth.compiler.bind.blocks.kept import paths_kept
from synth.compiler.bind.conversations.axes import uses_of
from synth.compiler.plan.steps import CallPlan

# The code of a warning that a run makes an error of.
MISSING_FILE = "W707"

_UNUSED = {"draw": "drawn", "step": "written, at a call each,", "let": "made"}


def lint(bound: Bound, folder: Path | None, diagnostics: Diagnostics) -> None:
    """W701 to W711.  `folder` is where the recipe lies; paths are looked for where it is known."""
    if diagnostics.has_errors:
        return
    for conversation in bound.conversations.values():
        _unused_inside(conversation, bound, diagnostics)
        _weights(conversation, diagnostics)
        for step in conversation.steps:
            _alike(step, diagnostics)
            _first_alone(step, diagnostics)
    for preference in bound.preferences.values():
        for step in preference.steps:
            _alike(step, diagnostics)
            _first_alone(step, diagnostics)
    for tool in bound.tools.values():
        _tools(tool, diagnostics)
    _unused_pairs(bound, diagnostics)
    _not_exported(bound, diagnostics)
    if folder is not None:
        _missing_files(bound, folder, diagnostics)


def _unused_inside(conversation: Conversation, bound: Bound, diagnostics: Diagnostics) -> None:
    """W701: what is drawn, looked up or written for each sample, and then shown nowhere."""
    used = set(_read_elsewhere(conversation, bound))
    for declared in conversation.unused:
        if declared.name not in used:
            diagnostics.add(
                Diagnostic(
                    "W701",
                    f"`{declared.name}` is {_UNUSED[declared.what]} and never used",
                    declared.span,
                    hint=f"print it, as in `{{{{ {declared.name} }}}}`, make it a column, or drop it",
                )
            )


def _read_elsewhere(conversation: Conversation, bound: Bound) -> Iterator[str]:
    """Names of a conversation that its exports and evaluations go by."""
    if conversation.transcript is not None:
        yield conversation.transcript
    exported = set()
    for export in bound.exports.values():
        for column in export.columns:
            if not isinstance(column, str):
                yield from (place.path[0] for place in column.places if place.source == conversation.name)
        if export.source == conversation.name:
            exported.add(export.name)
            yield from (column for column in export.columns if isinstance(column, str))
            if export.context is not None:
                yield export.context
            if export.type == "ranked":
                yield from (step.name for step in conversation.steps if step.choosing.rubric is not None)
    for evaluation in bound.evaluations.values():
        if evaluation.plan.of not in exported:
            continue
        for measure in evaluation.plan.measures:
            if measure.name == "tone":
                yield from (draw.name for draw in conversation.draws if draw.personas)
            if "among" in measure.arguments:
                yield from (
                    draw.name
                    for draw in conversation.draws
                    if any(member.label == measure.arguments["among"] for member in draw.members)
                )
    for preference in bound.preferences.values():
        if preference.source == conversation.name:
            yield from preference.quoted
            sides = (preference.chosen, preference.rejected)
            yield from (str(side.arguments["name"]) for side in sides if side.name != "step")
    for other in bound.conversations.values():
        yield from _read_above(other, conversation)


def _read_above(other: Conversation, conversation: Conversation) -> Iterator[str]:
    """Names of a conversation that another looks up, whose samples are made of its."""
    above: list[str] = []
    ancestor = other
    while ancestor.parent is not None and ancestor.table is not None:
        above.append(ancestor.table.name)
        ancestor = ancestor.parent
        if ancestor is conversation:
            break
    else:
        return
    assert other.table is not None
    paths = uses_of({above[0]}, (*other.steps, *paths_kept(other.keep)))
    paths += [(above[0], *listed.path) for listed in other.table.lists]
    paths += [draw.of for draw in other.dealt]
    for path in paths:
        if path[: len(above)] == tuple(above) and len(path) > len(above):
            yield path[len(above)]


def _tools(tool: Tool, diagnostics: Diagnostics) -> None:
    """W701 for arguments that whoever plays a tool never sees, W711 for a tool that nothing is said of."""
    for argument in tool.unused:
        diagnostics.add(
            Diagnostic(
                "W701",
                f"`{argument.name}` is given to `{tool.name}`, whose prompt never uses it",
                argument.span,
                hint=f"print it, as in `{{{{ {argument.name} }}}}`, or drop it",
            )
        )
    if not tool.about:
        how = "a docstring, or" if tool.played is None else "a line"
        diagnostics.add(
            Diagnostic(
                "W711",
                f"nothing is said of what `{tool.name}` is for, and a model goes by that",
                tool.span,
                hint=f"give it {how} `## ...` above the `tool`",
            )
        )


def _unused_pairs(bound: Bound, diagnostics: Diagnostics) -> None:
    """W701: a turn of a preference that is neither of its two answers, nor a column."""
    columns = [c for export in bound.exports.values() for c in export.columns if not isinstance(c, str)]
    exported = {(place.source, place.path[0]) for column in columns for place in column.places}
    for preference in bound.preferences.values():
        sides = (preference.chosen, preference.rejected)
        read = {str(side.arguments["name"]) for side in sides if side.name == "step"}
        read |= {need for step in preference.steps for need in step.needs}
        for step in preference.steps:
            if step.name not in read and (preference.name, step.name) not in exported:
                diagnostics.add(
                    Diagnostic(
                        "W701",
                        f"`{step.name}` is neither `chosen` nor `rejected`, and never used",
                        step.span,
                        hint=f"for example `rejected = {step.name}`",
                    )
                )


def _weights(conversation: Conversation, diagnostics: Diagnostics) -> None:
    """W708: `over` makes the same number of samples for each member, whatever its share."""
    for axis in conversation.axes:
        weights = [member.weight for member in axis.set.members]
        if len(set(weights)) > 1:
            diagnostics.add(
                Diagnostic(
                    "W708",
                    f"`over` takes each member of `{axis.set.name}` alike, whatever its share",
                    axis.span,
                    secondary=(Label(axis.set.span, "shares given here"),),
                    hint=f"`draw {axis.name} from {axis.set.name}` goes by the shares",
                )
            )


def _alike(step: Step, diagnostics: Diagnostics) -> None:
    """W709: at temperature 0 a model says the same however often it is asked."""
    if step.choosing.candidates > 1 and step.sampling.temperature == 0:
        diagnostics.add(
            Diagnostic(
                "W709",
                f"the {step.choosing.candidates} candidates of `{step.name}` are written at temperature 0, "
                "so they are alike",
                step.choosing.span,
                secondary=()
                if step.model is None
                else (Label(step.model.span, "the model that writes them"),),
                hint="for example `temperature = 1.0`",
            )
        )


def _first_alone(step: Step, diagnostics: Diagnostics) -> None:
    """W710: where nothing refuses and nothing marks, the first of several candidates is always taken."""
    choosing = step.choosing
    judged = bool(step.checks or step.must_fail or choosing.rubric is not None)
    if choosing.candidates > 1 and choosing.pick.by == "first" and not judged and step.output.name == "text":
        diagnostics.add(
            Diagnostic(
                "W710",
                f"of the {choosing.candidates} candidates of `{step.name}` the first is always taken",
                choosing.span,
                hint="have them marked, as in `marks = quality` and `pick = best`, or check them",
            )
        )


def _not_exported(bound: Bound, diagnostics: Diagnostics) -> None:
    """W706: what is made and is in no dataset."""
    made: dict[str, Span] = {name: conversation.span for name, conversation in bound.conversations.items()}
    made |= {name: preference.span for name, preference in bound.preferences.items()}
    if made and not bound.exports:
        name, span = next(iter(made.items()))
        form = "preference" if name in bound.preferences else "messages"
        diagnostics.add(
            Diagnostic(
                "W706",
                "this recipe exports nothing, so there is no dataset to write",
                span,
                hint=f'for example `export train: {form} from {name} to "out/train"`',
            )
        )
        return
    read = {export.source for export in bound.exports.values()}
    read |= {name for mix in bound.mixes.values() for part in mix.parts for name in part.sources}
    read |= {preference.source for preference in bound.preferences.values()}
    read |= {
        conversation.parent.name
        for conversation in bound.conversations.values()
        if conversation.parent is not None
    }
    for name, span in made.items():
        if name not in read:
            diagnostics.add(
                Diagnostic(
                    "W706",
                    f"`{name}` is in no dataset: no export, mix or preference is made from it",
                    span,
                    hint=f"export it, or drop it: a run would make all of `{name}`",
                )
            )


def _missing_files(bound: Bound, folder: Path, diagnostics: Diagnostics) -> None:
    """W707: a source whose file is not there now; a run refuses it."""
    for source in bound.sources.values():
        path = _path_of(source.plan.reader)
        if path is None or (folder / path).exists():
            continue
        diagnostics.add(
            Diagnostic(
                MISSING_FILE,
                f"there is no `{path}` for `{source.plan.name}` to read",
                source.span,
                hint="a path is relative to the recipe's folder; a run would stop here",
            )
        )


def _path_of(reader: CallPlan) -> str | None:
    """What a reader reads; None for a parameter that is yet to be given."""
    path = reader.arguments.get("path")
    if not isinstance(path, str) or path.startswith("<") or "\x00" in path:
        return None
    return path
