"""Binding of `export`: which rows, in which form, and where to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from synth.base.diagnostics.source import Span
from synth.base.display import quoted
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Bound, Conversation, Preference
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.declarations.column_places import Columns
from synth.compiler.bind.declarations.columns import bind_columns
from synth.compiler.bind.expressions.meant import FORMS as OTHER_FORMS
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant
from synth.compiler.bind.expressions.written_types import plain_word
from synth.compiler.outside.hub import language, licence, likely_language, likely_licence
from synth.compiler.plan.outputs import ExportPlan, MixPlan
from synth.compiler.plan.types import CHUNKS, TEXT
from synth.dsl.syntax import Expression, List, Reference, Statement

# The forms of rows, and the columns of each beside `id`.
FORMS: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "sharegpt": ("conversations",),
    "preference": ("prompt", "chosen", "rejected"),
    "sharegpt_preference": ("conversations", "chosen", "rejected"),
    "unpaired": ("prompt", "completion", "label"),
    "ranked": ("prompt", "responses", "marks"),
    "rejected": ("prompt", "completion", "label", "step", "check", "reason"),
}

# The forms of pairs, and those that have what was refused.
PAIRS = ("preference", "sharegpt_preference")
ATTEMPTS = ("unpaired", "rejected")
# Those of one conversation.
OF_CONVERSATIONS = (*ATTEMPTS, "ranked")

# The forms whose rows are whole conversations, or begin as they do.
_FROM_THE_START = ("messages", "prompt_completion", "sharegpt", "unpaired", "ranked")


def bind_export(statement: Statement, bound: Bound, scope: Scope) -> ExportPlan | None:
    """The dataset a statement asks for, or None where its faults leave none."""
    source_clause, to_clause = statement.clause("from"), statement.clause("to")
    if statement.name is None or statement.type is None or source_clause is None or to_clause is None:
        return None
    form = plain_word(statement.type, "the form of rows", scope)
    if form not in FORMS:
        guess = OTHER_FORMS.get(form.lower()) or suggest(form, FORMS)
        scope.report(
            "E202",
            f"rows are exported as {', '.join(FORMS)}, not as `{form}`",
            statement.type.span,
            hint=f"did you mean `{guess}`?" if guess else "",
        )
        return None
    source: Conversation | MixPlan | Preference | None
    if form in PAIRS:
        source = scope.thing(source_clause.value, (Preference,), "a preference")
    elif form in OF_CONVERSATIONS:
        source = scope.thing(source_clause.value, (Conversation,), "a conversation")
    else:
        source = scope.thing(source_clause.value, (Conversation, MixPlan), "a conversation or a mix")
    if form == "unpaired" and isinstance(source, Conversation):
        _check_turns(source, source_clause.value.span, scope)
    to = constant(to_clause.value, TEXT, scope, "`to`")
    fields: dict[str, Any] = {}
    for inner, kind in check_shape(statement.body or (), "export", scope.diagnostics):
        if not isinstance(inner, Statement) or kind.field is None:
            continue
        if kind.word == "columns":
            if source is not None:
                fields["columns"] = bind_columns(inner, _sources_of_columns(source, form, bound), scope)
            continue
        if inner.value is None:
            continue
        if kind.word == "step":
            if form != "ranked":
                scope.report("E108", "only `ranked` rows are of one step", inner.kind.span, hint="drop it")
            elif isinstance(source, Conversation):
                fields["step"] = _ranked(inner.value, source, scope)
            continue
        if kind.word == "context":
            if isinstance(source, Conversation) and form in _FROM_THE_START:
                fields["context"] = _context(inner.value, source, scope)
            elif source is not None:
                scope.report("E108", "only rows of one conversation begin with its passages", inner.kind.span)
            continue
        value = constant(inner.value, kind.field, scope, f"`{kind.word}`")
        if value is FAILED:
            continue
        if kind.word == "roles" and form.startswith("sharegpt"):
            scope.report(
                "E108",
                f"rows of `{form}` call the model `gpt`, whatever `roles` says",
                inner.kind.span,
                hint="drop it, or export `messages`",
            )
            continue
        if kind.word == "split" and not 0 < value < 100:
            scope.report(
                "E302",
                f"a split leaves rows on both sides, and {value}% does not",
                inner.value.span,
                hint="for example `split = 95%`, or drop it",
            )
            continue
        if kind.word in _FOR_THE_CARD:
            value = _FOR_THE_CARD[kind.word](inner.value, value, scope)
            if value is None:
                continue
        fields[kind.word] = str(value) if kind.word == "split" else value
    if source is None or to is FAILED:
        return None
    if form == "ranked" and isinstance(source, Conversation) and "step" not in fields:
        _check_marked(source, source_clause.value.span, scope)
    if (
        not to.strip()
        or to.startswith(("/", "~"))
        or ".." in to.replace("\\", "/").split("/")
        or "\x00" in to
    ):
        scope.report(
            "E202",
            "a dataset is written below the output folder",
            to_clause.value.span,
            hint='for example `to "out/train"`; `synth materialize --out DIR` chooses the folder',
        )
        return None
    return ExportPlan(name=statement.name.text, type=form, source=source.name, to=to, **fields)


def _sources_of_columns(source: Conversation | MixPlan | Preference, form: str, bound: Bound) -> Columns:
    """What an export's columns can be taken from, and stand beside."""
    names: list[str] = []
    places: dict[str, Conversation | Preference]
    if isinstance(source, Conversation):
        places = {source.name: source}
    elif isinstance(source, Preference):
        # The conversation is bound where its preference is.
        places = {source.source: bound.conversations[source.source], source.name: source}
    else:
        names = [name for part in source.parts for name in part.sources]
        places = {name: bound.conversations[name] for name in names if name in bound.conversations}
    taken = {"id", *FORMS[form]} | ({"source"} if names else set())
    if any(place.tags for place in places.values() if isinstance(place, Conversation)):
        taken.add("tags")
    if any(
        step.calling.uses
        for place in places.values()
        if isinstance(place, Conversation)
        for step in place.steps
    ):
        taken |= {"tools", "traces"} if form == "ranked" else {"tools"}
    sources = frozenset(names) - places.keys()
    paired = isinstance(source, Preference)
    return Columns(places, sources, frozenset(taken), form in ATTEMPTS, bool(names), paired)


def _check_turns(conversation: Conversation, place: Span, scope: Scope) -> None:
    """Reports a conversation none of whose trained turns can be refused by itself."""
    if conversation.transcript is not None:
        scope.report(
            "E202",
            f"`{conversation.name}` is written by one step, and `unpaired` is made of turns",
            place,
            hint="`rejected` has what was refused of it, and `prompt_completion` what it trains on",
        )


def _marked(conversation: Conversation) -> list[str]:
    """The steps whose candidates judges mark."""
    return [
        step.name for step in conversation.steps if step.model is not None and step.choosing.may_be_marked
    ]


def _check_marked(conversation: Conversation, place: Span, scope: Scope) -> None:
    """Reports a conversation of which nobody knows what is to be ranked."""
    marked = _marked(conversation)
    if not marked and not conversation.poisoned:
        scope.report(
            "E202",
            f"nothing of `{conversation.name}` is marked, so there is nothing to rank",
            place,
            hint="have a turn marked by a rubric: `marks = quality`",
        )
    elif len(marked) > 1:
        scope.report(
            "E202",
            f"`{conversation.name}` has {len(marked)} turns with marks, and rows are of one",
            place,
            hint=f"say which: `step = {conversation.name}.{marked[-1]}`",
        )


def _ranked(written: Expression, conversation: Conversation, scope: Scope) -> str | None:
    """The step whose candidates are ranked: `step = talks.closing`."""
    marked = _marked(conversation)
    called, lacks = "`step` names a turn with its conversation", "has no marks"
    hint = f"for example `step = {conversation.name}.{marked[0]}`" if marked else ""
    return _step_named(written, conversation, marked, scope, called, lacks, hint)


def _step_named(
    written: Expression,
    conversation: Conversation,
    fit: Sequence[str],
    scope: Scope,
    called: str,
    lacks: str,
    hint: str,
) -> str | None:
    """The name of a step of the conversation that is exported: one of those that `fit`."""
    if not isinstance(written, Reference) or len(written.parts) != 2:
        scope.report("E202", called, written.span, hint=hint)
        return None
    holder, name = written.parts
    if holder.text != conversation.name:
        scope.report(
            "E101",
            f"`{holder}` is not what is exported here",
            holder.span,
            hint=f"did you mean `{conversation.name}`?",
        )
    elif name.text in fit:
        return name.text
    elif name.text not in conversation.poisoned:
        guess = suggest(name.text, fit)
        remedy = f"did you mean `{guess}`?" if guess else hint
        scope.report("E202", f"`{written}` {lacks}", name.span, hint=remedy)
    return None


def in_the_way(export: ExportPlan, others: Iterable[ExportPlan]) -> str | None:
    """The folder of an earlier export that is this one's, or that one of the two lies in."""
    ours = PurePosixPath(export.to)
    for other in others:
        theirs = PurePosixPath(other.to)
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            return other.to
    return None


def _licence(written: Expression, value: str, scope: Scope) -> str | None:
    """A licence as hubs write it: `"cc-by-4.0"`."""
    known = licence(value)
    if known is None:
        guess = likely_licence(value)
        scope.report(
            "E202",
            f"{quoted(value)} is no licence that dataset hubs know",
            written.span,
            hint=f'did you mean `"{guess}"`?' if guess else 'for one of your own, `licence = "other"`',
        )
    return known


def _languages(written: Expression, values: Sequence[str], scope: Scope) -> tuple[str, ...]:
    """Codes of languages, each once: `["en", "pt-BR"]`."""
    items = written.items if isinstance(written, List) else [written] * len(values)
    tags: list[str] = []
    for item, value in zip(items, values, strict=True):
        tag = language(value)
        if tag is None:
            guess = likely_language(value)
            scope.report(
                "E202",
                f"{quoted(value)} is no code of a language",
                item.span,
                hint=f'did you mean `"{guess}"`?' if guess else 'languages are ISO codes: `"en"`, `"pt-BR"`',
            )
        elif tag not in tags:
            tags.append(tag)
    return tuple(tags)


# Fields that are checked, and written as hubs write them.
_FOR_THE_CARD: Mapping[str, Callable[[Expression, Any, Scope], Any]] = {
    "licence": _licence,
    "languages": _languages,
}


def _context(written: Expression, conversation: Conversation, scope: Scope) -> str | None:
    """The step whose passages open each row: `grounded.evidence`."""
    passages = [step.name for step in conversation.steps if step.output == CHUNKS]
    called, lacks = "`context` names passages with their conversation", "is no list of passages"
    hint = "passages are what `retrieve` and `sample` give"
    if passages:
        hint = f"for example `context = {conversation.name}.{passages[0]}`"
    return _step_named(written, conversation, passages, scope, called, lacks, hint)
