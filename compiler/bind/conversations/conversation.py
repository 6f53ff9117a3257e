"""Binding of `conversation`: its grid, draws, turns and steps, in the order they are written."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Axis, Bound, Conversation, Draw, SetOf, Step
from synth.compiler.bind.blocks.kept import bind_keep, paths_kept
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.conversations.axes import bind_axes, bind_count, bind_times, refuse_no_times, uses_of
from synth.compiler.bind.conversations.dealt import (
    Dealt,
    bind_dealt,
    bind_sample,
    draws_from_table,
    samples_rows,
)
from synth.compiler.bind.conversations.draws import bind_draw
from synth.compiler.bind.conversations.step import bind_step
from synth.compiler.bind.declarations.lets import bind_let
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant
from synth.compiler.bind.expressions.ways import Ways, seen
from synth.compiler.plan.steps import Role
from synth.compiler.plan.types import COUNT, TEXT, Type, is_transcript
from synth.dsl.syntax import Call, Expression, Integer, List, Name, Reference, Statement


def bind_conversation(
    statement: Statement, bound: Bound, outer: Scope, overrides: Mapping[str, str]
) -> Conversation | None:
    """The conversation a statement declares; its inner faults are reported and left out."""
    if statement.name is None:
        return None
    ways = Ways()
    scope = Scope(outer.diagnostics, outer=outer, ways=ways)
    name = statement.name.text
    axes = bind_axes(statement, bound, scope)
    for axis in axes.sets:
        ways.members[axis.name] = seen(axis.set.members)
    times = bind_times(statement, scope)
    scope.names["nth"] = Declared("nth", "number of the sample in its cell", statement.name.span, COUNT)

    inner = [
        (s, kind)
        for s, kind in check_shape(statement.body or (), "conversation", scope.diagnostics)
        if isinstance(s, Statement)
    ]
    if len(inner) < len(statement.body or ()) or statement.damaged:
        # A turn may be among what was lost.
        scope.poisoned.add("")
    for s, kind in inner:
        if s.name is not None and kind.word in ("turn", "step", "let", "draw"):
            if s.damaged or s.kind.text != kind.word:
                scope.poisoned.add(s.name.text)
            scope.later.setdefault(s.name.text, Declared(s.name.text, kind.word, s.name.span))
    draws: list[Draw] = []
    dealt: list[Dealt] = []
    steps: list[Step] = []
    train_on: Expression | None = None
    transcript: Expression | None = None
    tags: tuple[str, ...] = ()
    kept: Statement | None = None
    for s, kind in inner:
        if kind.word == "draw" and draws_from_table(s, axes, {drawn.plan.name for drawn in dealt}, scope):
            if (drawn := bind_dealt(s, axes, scope)) is not None:
                dealt.append(drawn)
        elif kind.word == "let" and samples_rows(s, scope):
            if (drawn := bind_sample(s, scope)) is not None:
                dealt.append(drawn)
        elif kind.word == "draw":
            draw = bind_draw(s, axes.sets, draws, scope)
            if draw is not None:
                draws.append(draw)
                # The members of one in parts are examples of what it can be.
                if draw.spread is None or not draw.spread.in_parts:
                    weighted = [member for member in draw.members if member.weight]
                    ways.members[draw.name] = seen(weighted, plain=not draw.source)
        elif kind.word in ("turn", "step", "let"):
            if kind.word == "let":
                step = bind_let(s, steps, draws, bound, scope)
            else:
                step = bind_step(s, kind.word, steps, bound, scope)
            if step is not None:
                steps.append(step)
                ways.add(step.name, step.when, step.call)
            elif s.name is not None:
                scope.poisoned.add(s.name.text)
        elif kind.word == "train_on":
            train_on = s.value
        elif kind.word == "transcript":
            transcript = s.value
        elif kind.word == "keep":
            kept = s
        elif kind.word == "tags" and s.value is not None:
            value = constant(s.value, Type("list", (TEXT,)), scope, "`tags`")
            tags = () if value is FAILED else tuple(value)
    # It may name all that the sample has, wherever it stands.
    keep = [] if kept is None else bind_keep(kept, name, scope)
    if not axes.whole or times is None:
        outer.poisoned.add(name)
        return None
    if axes.rows is None:
        count: int | None = times * axes.cells
        _check_quota(statement, times * axes.cells, axes.sets, overrides, bound, scope)
    else:
        count = bind_count(statement, axes, times, scope)
        refuse_no_times(statement, times, scope)
    looking = (*steps, *paths_kept(keep))
    dialogue = _bind_transcript(transcript, steps, scope)
    if (
        not any(step.role not in (None, "system") for step in steps)
        and transcript is None
        and not scope.poisoned
    ):
        scope.report(
            "E107",
            f"`{name}` has no turn",
            statement.name.span,
            hint="for example `turn answer: model by base { sees = transcript }`",
        )
    is_every, every = _train_every(train_on, scope)
    trained = [] if is_every else _bind_train_on(train_on, steps, scope)
    return Conversation(
        name=name,
        quota=count or 0,
        declared=statement.quantity.value if isinstance(statement.quantity, Integer) else count or 0,
        times=times,
        axes=tuple(axes.sets),
        table=axes.with_uses(looking),
        dealt=tuple(
            drawn.plan.model_copy(update={"uses": tuple(uses_of((drawn.plan.name,), looking))})
            for drawn in dealt
        ),
        keep=tuple(keep),
        outside=(*axes.types, *((drawn.plan.name, drawn.type) for drawn in dealt)),
        each=count is None,
        parent=axes.parent,
        draws=tuple(draws),
        steps=tuple(steps),
        train_on=tuple(name for name, _ in trained),
        train_on_spans=tuple(span for _, span in trained),
        train_every=every,
        transcript=dialogue,
        tags=tags,
        span=statement.name.span,
        unused=tuple(
            declared
            for name, declared in scope.names.items()
            if name not in scope.used and declared.what in ("draw", "step", "let")
        ),
        poisoned=frozenset(scope.poisoned),
        ways=ways,
    )


def _check_quota(
    statement: Statement,
    made: int,
    axes: list[Axis],
    overrides: Mapping[str, str],
    bound: Bound,
    scope: Scope,
) -> None:
    """E301: a declared quota must be what `over` x `times` makes, unless an override changed it."""
    declared = statement.quantity
    times = statement.clause("times")
    if declared is None or times is None or statement.name is None:
        return
    if not all(axis.set.whole for axis in axes):
        return
    if isinstance(times.value, Reference) and str(times.value) in overrides:
        if isinstance(declared, Integer) and declared.value != made:
            bound.notes.append(
                f"`{statement.name}`: {declared.value} conversations become {made} with "
                f"--set {times.value}={overrides[str(times.value)]}"
            )
        return
    if not isinstance(declared, Integer):
        scope.report(
            "E202",
            f"`{statement.name}` is declared as a share, and a quota is a count",
            declared.span,
            hint="for example `conversation chats 300 times 300`",
        )
    elif declared.value != made:
        cells = prod(len(axis.set.members) for axis in axes)
        labels = tuple(Label(axis.span, f"{len(axis.set.members)} {axis.name}s") for axis in axes)
        per_cell, left = divmod(declared.value, cells) if cells else (0, 1)
        hint = (
            f"{cells} x {per_cell} = {declared.value}; write `times {per_cell}`, or declare {made}"
            if not left
            else (f"declare {made}")
        )
        scope.report(
            "E301",
            f"`{statement.name}` is declared as {declared.value} conversations and makes {made}",
            declared.span,
            label="declared",
            secondary=(*labels, Label(times.value.span, times.span.text)),
            hint=hint,
        )


def _set_of(expression: Expression, scope: Scope) -> SetOf | None:
    set_: SetOf | None = scope.thing(expression, (SetOf,), "a set")
    return set_


def _bind_transcript(written: Expression | None, steps: list[Step], scope: Scope) -> str | None:
    """E205: the step whose JSON list of messages is the conversation."""
    if written is None:
        return None
    if not isinstance(written, Reference) or len(written.parts) != 1:
        scope.report(
            "E202", "`transcript` names a step", written.span, hint="for example `transcript = dialogue`"
        )
        return None
    declared = scope.resolve(written.parts[0])
    if declared is None or declared.type is None:
        return None
    if not is_transcript(declared.type):
        scope.report(
            "E205",
            f"`{written}` is no conversation: a message has `role: enum<user, model>` and `content: text`",
            written.span,
            secondary=(Label(declared.span, f"this is {article(declared.type)}"),),
            hint="for example `schema Message { role: enum<user, model>, content: text }`",
        )
        return None
    turn = next((step for step in steps if step.role is not None), None)
    if turn is not None:
        scope.report(
            "E108",
            f"`{turn.name}` is a turn, and the transcript is `{written}`",
            turn.span,
            secondary=(Label(written.span, "the whole conversation"),),
            hint="write turns, or one step that gives them all",
        )
    return written.parts[0].text


def _train_every(written: Expression | None, scope: Scope) -> tuple[bool, Role | None]:
    """Whether `train_on` is `every(role)`, and the role where it can be trained on (E501)."""
    if not isinstance(written, Call) or str(written.function) != "every" or len(written.arguments) != 1:
        return False, None
    role = written.arguments[0].value
    if not isinstance(role, Reference) or str(role) not in ("user", "model"):
        return False, None
    if str(role) == "model":
        return True, "model"
    scope.report(
        "E501",
        "only model turns are trained on",
        written.span,
        hint="for example `train_on = every(model)`",
    )
    return True, None


def _bind_train_on(written: Expression | None, steps: list[Step], scope: Scope) -> list[tuple[str, Span]]:
    """The trained turns: those listed, or all of the model's when nothing is."""
    turns = {step.name: step for step in steps if step.role is not None}
    own = [step for step in turns.values() if step.role == "model"]
    if written is None:
        return [(step.name, step.span) for step in own]
    if not isinstance(written, List):
        scope.report(
            "E202",
            "`train_on` lists turns",
            written.span,
            hint="for example `train_on = [answer]` or `train_on = every(model)`",
        )
        return []
    trained: list[tuple[str, Span]] = []
    for item in written.items:
        name = item.parts[0] if isinstance(item, Reference) and len(item.parts) == 1 else None
        if name is None:
            scope.report(
                "E202", "`train_on` lists turns", item.span, hint="for example `train_on = [answer]`"
            )
        elif name.text in [known for known, _ in trained]:
            scope.report("E104", f"`{name}` is listed twice", name.span, hint="keep one of them")
        elif name.text in turns:
            if turns[name.text].role != "model":
                _refuse_user_turn(turns[name.text], name, written, own, scope)
            else:
                trained.append((name.text, name.span))
        else:
            scope.resolve(name, among=[step.name for step in own], what="model turn")
    return trained


_ROLES = {"user": "a user turn", "system": "a system turn", "messages": "what was said before"}


def _refuse_user_turn(step: Step, name: Name, written: List, own: list[Step], scope: Scope) -> None:
    names = [f"`{turn.name}`" for turn in own]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    scope.report(
        "E501",
        f"`{name}` is {_ROLES.get(str(step.role))}; only model turns are trained on",
        written.span,
        secondary=(Label(step.role_span, str(step.role)),),
        hint=f"the model turns are {listed}"
        if len(names) > 1
        else f"the model turn is {listed}"
        if names
        else "",
    )
