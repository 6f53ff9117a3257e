"""Pass: what the names of a file stand for.  Syntax -> Bound.

Declarations are bound in the order of what they can refer to (parameters, schemas, models,
sets, conversations, exports), whatever their order in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from synth.base.diagnostics.diagnostic import Diagnostics
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Bound
from synth.compiler.bind.blocks.check_blocks import bind_named
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.conversations.axes import order_conversations
from synth.compiler.bind.conversations.conversation import bind_conversation
from synth.compiler.bind.conversations.evaluations import bind_evaluation
from synth.compiler.bind.conversations.preferences import bind_preference
from synth.compiler.bind.declarations import models, sources
from synth.compiler.bind.declarations.exports import bind_export, in_the_way
from synth.compiler.bind.declarations.mixes import bind_mix
from synth.compiler.bind.declarations.schemas import bind_schema, order_schemas
from synth.compiler.bind.declarations.sets import bind_set
from synth.compiler.bind.expressions.kinds import Kind
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, constant, infer
from synth.compiler.bind.functions.module import FILE, PYTHON
from synth.compiler.bind.imports import Importer
from synth.compiler.bind.judging.rubrics import bind_rubric
from synth.compiler.bind.overrides import bind_param, check_overrides
from synth.compiler.bind.tools.declared import bind_tool
from synth.compiler.plan.types import COUNT, RATIO, TEXT, record
from synth.dsl.syntax import Integer, Statement, Syntax

# A library's own names come first: the rest of the file can use them.
_SHARED = ("use", "schema", "let", "check", "rubric", "set", "personas", "tiers", "tool")
_ORDER = (
    "recipe",
    "use",
    "schema",
    "param",
    "let",
    "check",
    "model",
    "rubric",
    "set",
    "personas",
    "tiers",
    "tool",
    "source",
    "conversation",
    "preference",
    "mix",
    "export",
    "evaluation",
)
NEWEST_EDITION = 1


def bind(
    syntax: Syntax, overrides: Mapping[str, str], diagnostics: Diagnostics, *, lenient: bool = False
) -> Bound:
    """Binds a whole recipe file.  Faults go to `diagnostics`; what is left is still bound.

    `overrides` are the texts given with `--set`.  `lenient` lets texts that must be given for a
    run be absent, for a look at the plan.
    """
    bound = Bound()
    scope = Scope(diagnostics, poisoned=set(syntax.poisoned))
    importer = Importer(syntax.source, diagnostics, _bind_library)
    statements = _statements(syntax, "file", scope)
    _check_edition(syntax, statements, bound, scope)
    bound.kinds = {s.name.text: kind.word for s, kind in statements if s.name is not None}
    context = Context(bound, scope, overrides, importer, lenient)
    _bind_all(statements, _ORDER, context)
    if not bound.recipe:
        scope.report(
            "E107",
            "this file declares no recipe",
            _start(syntax),
            hint="for example `recipe name { seed = 1 }`",
        )
    check_overrides(bound, overrides, scope)
    _report_unused(scope)
    bound.functions = [
        function.plan for module in importer.modules for function in module.bound.values() if function
    ]
    return bound


def is_library(syntax: Syntax) -> bool:
    return any(isinstance(s, Statement) and s.kind.text == "library" for s in syntax.statements)


def bind_library_file(syntax: Syntax, diagnostics: Diagnostics) -> None:
    """Binds a library that is checked on its own."""
    _bind_library(syntax, Importer(syntax.source, diagnostics, _bind_library))


def _bind_library(syntax: Syntax, importer: Importer) -> Scope:
    scope = Scope(importer.diagnostics, poisoned=set(syntax.poisoned))
    statements = _statements(syntax, "library", scope)
    _check_edition(syntax, statements, Bound(), scope)
    if not is_library(syntax):
        scope.report(
            "E106",
            f"`{syntax.source.name}` is no library",
            _start(syntax),
            hint="a library says so below its edition: `library house_style`",
        )
    _bind_all(statements, _SHARED, Context(Bound(), scope, {}, importer))
    return scope


@dataclass(frozen=True, slots=True)
class Context:
    """What binding one statement of a file may need of the rest."""

    bound: Bound
    scope: Scope
    overrides: Mapping[str, str]
    importer: Importer
    lenient: bool = False


def _statements(syntax: Syntax, holder: str, scope: Scope) -> list[tuple[Statement, Kind]]:
    paired = check_shape(syntax.statements, holder, scope.diagnostics)
    statements = [(s, kind) for s, kind in paired if isinstance(s, Statement)]
    known = {id(s) for s, _ in statements}
    for statement in syntax.statements:
        if isinstance(statement, Statement) and id(statement) not in known:
            # `Message { ... }` lacks its kind: whatever it was to declare is not asked for again.
            scope.poisoned.update(name.text for name in (statement.kind, statement.name) if name is not None)
    for statement, kind in statements:
        misspelt = statement.kind.text != kind.word
        if statement.name is not None and (statement.damaged or misspelt):
            scope.poisoned.add(statement.name.text)
    return statements


def _bind_all(statements: list[tuple[Statement, Kind]], order: tuple[str, ...], context: Context) -> None:
    for word in order:
        chosen = [statement for statement, kind in statements if kind.word == word]
        ordered = _ORDERS.get(word)
        for statement in chosen if ordered is None else ordered(chosen, context.scope):
            _BINDERS[word](statement, context)


# Kinds whose names are there to be used; a conversation or an export is an end in itself.
_TO_BE_USED = {
    "param", "model", "rubric", "schema", "set", "personas", "tiers", "let", "check", "tool", "source",
    "library",    FILE,
}  # fmt: skip


# Kinds whose statements name others of their kind.
_ORDERS = {"schema": order_schemas, "conversation": order_conversations}


def _report_unused(scope: Scope) -> None:
    """W701, once the rest is right: a name that nothing uses is often a misspelt one elsewhere."""
    if scope.diagnostics.has_errors:
        return
    for name, declared in scope.names.items():
        if declared.what in _TO_BE_USED and name not in scope.used:
            scope.report("W701", f"`{name}` is never used", declared.span, hint="drop it, or use it")


def _check_edition(
    syntax: Syntax, statements: list[tuple[Statement, Kind]], bound: Bound, scope: Scope
) -> None:
    first = syntax.statements[0] if syntax.statements else None
    edition = next((s for s, kind in statements if kind.word == "edition"), None)
    if edition is None or edition is not first:
        scope.report(
            "E010",
            "a recipe begins with its edition",
            edition.span if edition is not None else _start(syntax),
            hint=f"write `edition {NEWEST_EDITION}` on the first line",
        )
    if edition is not None and isinstance(edition.quantity, Integer):
        bound.edition = edition.quantity.value
        if bound.edition > NEWEST_EDITION or bound.edition < 1:
            scope.report(
                "E011",
                f"edition {bound.edition} is not known to this compiler",
                edition.quantity.span,
                hint=f"the newest it knows is {NEWEST_EDITION}",
            )


def _start(syntax: Syntax) -> Span:
    if syntax.statements:
        return syntax.statements[0].span
    return Span(syntax.source, 0, min(1, len(syntax.source.text)))


def _bind_recipe(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    if statement.name is not None:
        bound.recipe = statement.name.text
    bound.docs = "\n".join(statement.docs)
    for inner, kind in check_shape(statement.body or (), "recipe", scope.diagnostics):
        if not isinstance(inner, Statement) or inner.value is None:
            continue
        if kind.word == "seed":
            value = constant(inner.value, COUNT, scope, "the seed")
            bound.seed = 0 if value is FAILED else value
        elif kind.word == "losses":
            value = constant(inner.value, RATIO, scope, "`losses`")
            bound.losses = bound.losses if value is FAILED else value


def _bind_param(statement: Statement, context: Context) -> None:
    bind_param(statement, context.bound, context.scope, context.overrides, lenient=context.lenient)


def _bind_schema(statement: Statement, context: Context) -> None:
    schema = bind_schema(statement, context.scope, context.bound.schemas)
    if schema is not None and statement.name is not None:
        declared = Declared(
            schema.name, "schema", statement.name.span, record(schema), constant=True, thing=schema
        )
        if context.scope.declare(declared):
            context.bound.schemas[schema.name] = schema


def _bind_model(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    model = models.bind_model(statement, scope, bound.schemas)
    if model is not None and scope.declare(Declared(model.plan.name, "model", model.span, None, thing=model)):
        bound.models[model.plan.name] = model


def _bind_rubric(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    rubric = bind_rubric(statement, scope)
    # Only those of libraries, whose names nobody knows beforehand, have no judges.
    if rubric is None or (not rubric.judges and bound.kinds):
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
    elif scope.declare(Declared(rubric.plan.name, "rubric", rubric.span, thing=rubric)):
        bound.rubrics[rubric.plan.name] = rubric


def _bind_tool(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    tool = bind_tool(statement, bound.schemas, scope)
    if tool is None:
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
    elif scope.declare(Declared(tool.name, "tool", tool.span, thing=tool)):
        bound.tools[tool.name] = tool


def _bind_set(statement: Statement, context: Context) -> None:
    scope = context.scope
    set_ = bind_set(statement, scope, context.bound.schemas)
    if set_ is None:
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
    elif scope.declare(Declared(set_.name, set_.what, set_.span, thing=set_)):
        context.bound.sets[set_.name] = set_


def _bind_conversation(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    conversation = bind_conversation(statement, bound, scope, context.overrides)
    if conversation is not None and scope.declare(
        Declared(conversation.name, "conversation", conversation.span, None, thing=conversation)
    ):
        bound.conversations[conversation.name] = conversation


def _bind_export(statement: Statement, context: Context) -> None:
    bound, scope = context.bound, context.scope
    export = bind_export(statement, bound, scope)
    if export is None:
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
    elif statement.name is not None and (other := in_the_way(export, bound.exports.values())) is not None:
        same = PurePosixPath(other) == PurePosixPath(export.to)
        scope.report(
            "E104",
            f"another export is written to `{other}`{'' if same else ', and one would replace the other'}",
            statement.name.span,
            hint="give each export a folder of its own, none of them inside another's",
        )
    elif statement.name is not None and scope.declare(
        Declared(export.name, "export", statement.name.span, thing=export)
    ):
        bound.exports[export.name] = export


def _bind_use(statement: Statement, context: Context) -> None:
    clause = statement.clause("from")
    if statement.name is None or clause is None:
        return
    scope, name = context.scope, statement.name.text
    written = constant(clause.value, TEXT, scope, "`use`")
    if written is not FAILED and str(written).endswith(PYTHON):
        module = context.importer.module(name, written, clause.value.span, scope)
        if module is None:
            scope.poisoned.add(name)
        else:
            scope.declare(Declared(name, FILE, statement.name.span, thing=module))
        return
    library = None if written is FAILED else context.importer.load(written, clause.value.span, scope)
    if library is None:
        scope.poisoned.add(name)
    else:
        scope.declare(Declared(name, "library", statement.name.span, thing=library))


def _bind_let(statement: Statement, context: Context) -> None:
    if statement.name is None or statement.value is None:
        return
    scope, name = context.scope, statement.name.text
    inferred = infer(statement.value, scope)
    if inferred is None:
        scope.poisoned.add(name)
    else:
        scope.declare(Declared(name, "let", statement.name.span, *inferred, constant=True))


def _bind_check(statement: Statement, context: Context) -> None:
    named = bind_named(statement, context.bound.schemas, context.scope)
    if named is not None:
        context.scope.declare(Declared(named.name, "check", named.span, thing=named))


def _bind_source(statement: Statement, context: Context) -> None:
    scope = context.scope
    source = sources.bind_source(statement, scope, context.bound.schemas)
    if source is None:
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
    elif scope.declare(Declared(source.plan.name, "source", source.span, thing=source)):
        context.bound.sources[source.plan.name] = source


def _bind_preference(statement: Statement, context: Context) -> None:
    preference = bind_preference(statement, context.bound, context.scope)
    if preference is None:
        if statement.name is not None:
            context.scope.poisoned.add(statement.name.text)
        return
    name = preference.name
    if context.scope.declare(Declared(name, "preference", preference.span, thing=preference)):
        context.bound.preferences[name] = preference


def _bind_mix(statement: Statement, context: Context) -> None:
    mix = bind_mix(statement, context.bound, context.scope)
    if statement.name is None:
        return
    if mix is None:
        context.scope.poisoned.add(statement.name.text)
    elif context.scope.declare(Declared(mix.name, "mix", statement.name.span, thing=mix)):
        context.bound.mixes[mix.name] = mix


def _bind_evaluation(statement: Statement, context: Context) -> None:
    evaluation = bind_evaluation(statement, context.bound, context.scope)
    if evaluation is None:
        return
    name = evaluation.plan.name
    if context.scope.declare(Declared(name, "evaluation", evaluation.span, thing=evaluation)):
        context.bound.evaluations[name] = evaluation


_BINDERS = {
    "recipe": _bind_recipe,
    "schema": _bind_schema,
    "param": _bind_param,
    "model": _bind_model,
    "rubric": _bind_rubric,
    "set": _bind_set,
    "personas": _bind_set,
    "tiers": _bind_set,
    "tool": _bind_tool,
    "conversation": _bind_conversation,
    "export": _bind_export,
    "use": _bind_use,
    "let": _bind_let,
    "check": _bind_check,
    "source": _bind_source,
    "preference": _bind_preference,
    "mix": _bind_mix,
    "evaluation": _bind_evaluation,
}
