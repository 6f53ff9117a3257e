"""Types as they are written: what they name, what bounds them, and what would say nothing."""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.suggest import suggest
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import end_of_range, is_empty, is_whole
from synth.compiler.plan.types import BUILT_IN_SCHEMAS, CAPABILITIES, SCALARS, Schema, Type, record
from synth.dsl.syntax import TypeName

# What bounds are of, for the types that can have them.
_BOUNDED = {"text": "its characters", "list": "its items", "count": "its value", "number": "its value"}
# What to write instead of bounds, or of `<...>`, where a type has none.
_INSTEAD = {
    "enum": "an enum's bounds are its words: `enum<low, high>`",
    "json": "the bounds stand with what it holds: `json<list<Message>(2..8)>`, `json<S>`",
    "ratio": "`number(0..100)` has bounds",
    "duration": "`number(0..100)` has bounds",
    "path": "`text(1..80)` has bounds",
}


def resolve_type(written: TypeName, scope: Scope, schemas: dict[str, Schema]) -> Type | None:
    """The type a recipe names; reports unknown names and misplaced arguments."""
    if not _is_bare_enough(written, scope):
        return None
    name = written.name.text
    low, high = (
        (end_of_range(written.bounds.low), end_of_range(written.bounds.high))
        if written.bounds
        else (None, None)
    )
    if written.bounds is not None and is_empty(written.bounds):
        scope.report(
            "E202",
            f"no number lies in `{written.bounds.span.text}`",
            written.bounds.span,
            hint="the smaller end comes first",
        )
    words = tuple(argument.name.text for argument in written.arguments)
    match name:
        case "enum":
            if not words:
                _bad_type(written, scope, "`enum` lists its words", "enum<strip, keep>")
                return None
            if not _are_bare(written, scope):
                return None
            twice = next((word for number, word in enumerate(words) if word in words[:number]), None)
            if twice is not None:
                _bad_type(written, scope, f"`enum` lists `{twice}` twice", "enum<strip, keep>")
                return None
            return Type("enum", words=words, optional=written.optional)
        case "model":
            if not _are_bare(written, scope):
                return None
            always_there(written, "a model is always given", scope)
            meant = set(words)
            for argument in written.arguments:
                if argument.name.text not in CAPABILITIES:
                    guess = suggest(argument.name.text, CAPABILITIES)
                    meant.add(guess or "")
                    scope.report(
                        "E101",
                        f"`{argument.name}` is no capability of a model",
                        argument.span,
                        hint=f"did you mean `{guess}`?" if guess else f"they are {', '.join(CAPABILITIES)}",
                    )
            return Type("model", words=tuple(word for word in CAPABILITIES if word in meant))
        case "list" | "json":
            if len(written.arguments) != 1:
                _bad_type(written, scope, f"`{name}` says of what", f"{name}<Message>")
                return None
            what = "a list's items are all there" if name == "list" else "what is asked for is there"
            always_there(written.arguments[0], what, scope)
            inner = resolve_type(written.arguments[0], scope, schemas)
            return inner and Type(name, (inner,), low=low, high=high, optional=written.optional)
        case _ if name in SCALARS or name in ("messages", "preference", "chunk"):
            return Type(name, low=low, high=high, optional=written.optional)
    schema = schemas.get(name) or BUILT_IN_SCHEMAS.get(name)
    if schema is not None:
        scope.use(name)
        resolved = record(schema)
        return Type("record", schema=resolved.schema, optional=written.optional)
    if not scope.is_poisoned(name):
        legal: Sequence[str] = (*SCALARS, "list", "json", "enum", *schemas, *BUILT_IN_SCHEMAS)
        guess = suggest(name, legal)
        scope.first(name)
        scope.report(
            "E101",
            f"`{name}` is no type",
            written.name.span,
            hint=f"did you mean `{guess}`?"
            if guess
            else "types are text, count, json<...> or a schema's name",
        )
    return None


def _is_bare_enough(written: TypeName, scope: Scope) -> bool:
    """Whether a type's bounds and arguments are ones that it can have; what says nothing is refused."""
    name = written.name.text
    if written.bounds is not None and name not in _BOUNDED:
        scope.report(
            "E202",
            f"`{name}` has no bounds",
            written.bounds.span,
            hint=_INSTEAD.get(name, "bounds are of text (characters), list (items), count and number"),
        )
        return False
    if (
        written.bounds is not None
        and name != "number"
        and not all(end is None or is_whole(end) for end in (written.bounds.low, written.bounds.high))
    ):
        scope.report(
            "E202",
            f"`{name}` is bounded by counts, and `{written.bounds.span.text}` has another number",
            written.bounds.span,
            hint=f"`number({written.bounds.span.text})` has such bounds" if name == "count" else "",
        )
        return False
    if written.arguments and name not in ("enum", "model", "list", "json"):
        scope.report(
            "E202",
            f"`{name}` takes no `<...>`",
            written.arguments[0].span,
            hint="`list<...>`, `json<...>`, `enum<...>` and `model<...>` do",
        )
        return False
    return True


def _are_bare(written: TypeName, scope: Scope) -> bool:
    """Whether the arguments of `enum` or `model` are words and nothing else."""
    for argument in written.arguments:
        if argument.arguments or argument.bounds is not None or argument.optional:
            scope.report(
                "E202", f"`{written.name}` lists words", argument.span, hint=f"write `{argument.name}` alone"
            )
            return False
    return True


def always_there(written: TypeName, why: str, scope: Scope) -> None:
    """Reports a `?` on what cannot be absent; `why` says so."""
    if written.optional:
        scope.report(
            "E202",
            f"{why}, so `{written.span.text}` says nothing",
            written.span,
            hint="drop the `?`; fields of a schema and parameters can have it",
        )


def plain_word(written: TypeName, what: str, scope: Scope) -> str:
    """A type that is a word and nothing else, such as a turn's role; what else is written is reported."""
    if written.arguments or written.bounds is not None or written.optional:
        scope.report("E202", f"{what} is one word", written.span, hint=f"write `{written.name}` alone")
    return written.name.text


def _bad_type(written: TypeName, scope: Scope, message: str, example: str) -> None:
    scope.report("E202", message, written.span, hint=f"for example `{example}`")
