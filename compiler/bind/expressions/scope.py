"""Names in reach at one place of a recipe, and the reporting that goes with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Fix, Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.expressions.ways import Conditions, Path, Ways
from synth.compiler.plan.types import Type
from synth.dsl.syntax import Expression, Name, Ratio, Reference

# What is known of an attempt in the text that revises it.
_REVISED = ("refused", "reason")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a name stands for.

    `what` is the word for it in messages (`param`, `model`, `turn`).  A `constant` has its
    value now; the others get theirs for each sample, when prompts are rendered.  What stands
    under conditions, `when` they hold, is not in every sample; `written` is how the recipe says so.
    """

    name: str
    what: str
    span: Span
    type: Type | None = None
    value: Any = None
    constant: bool = False
    thing: Any = None
    when: Conditions = ()
    written: str = ""


@dataclass(slots=True)
class Scope:
    """A block's names in front of those of the block around it.

    `later` are names that will be declared further down, for E110.  Poisoned names failed to
    be declared; nothing that uses them is reported.  `place` names the statement being bound, and
    `under` has the conditions that it stands under; `ways` knows how those of the conversation can fall.
    """

    diagnostics: Diagnostics
    place: str = "this"
    outer: Scope | None = None
    names: dict[str, Declared] = field(default_factory=dict)
    later: dict[str, Declared] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    under: Conditions = ()
    ways: Ways | None = None
    # What is said of names that are none of its own, where others are not meant.
    unknown: str = ""

    def declare(self, declared: Declared) -> bool:
        """Adds a name; reports and refuses a second declaration of it.

        A conversation's own names may be those of schemas: `draw craft from crafts` reads best.
        """
        known = self.find(declared.name)
        if known is not None and (declared.name in self.names or known.what != "schema"):
            self.report(
                "E104",
                f"`{declared.name}` is declared twice",
                declared.span,
                secondary=(
                    Label(
                        known.span,
                        f"first declared here, as {'an' if known.what[0] in 'aeiou' else 'a'} {known.what}",
                    ),
                ),
                hint="give one of them another name",
            )
            return False
        self.names[declared.name] = declared
        return True

    def find(self, name: str) -> Declared | None:
        """What a name stands for here; nothing, where the nearest declaration of it failed."""
        declared = self.names.get(name)
        if declared is None and self.outer is not None and name not in self.poisoned:
            return self.outer.find(name)
        return declared

    def use(self, name: str) -> None:
        """Marks a name as used in the scope that declares it."""
        if name in self.names or self.outer is None:
            self.used.add(name)
        else:
            self.outer.use(name)

    def is_poisoned(self, name: str) -> bool:
        return name in self.poisoned or (self.outer is not None and self.outer.is_poisoned(name))

    def first(self, fault: str) -> bool:
        """Whether a fault that can show in many places is met for the first time in the file."""
        if self.outer is not None:
            return self.outer.first(fault)
        if fault in self.poisoned:
            return False
        self.poisoned.add(fault)
        return True

    def legal(self) -> Iterable[str]:
        yield from self.names
        if self.outer is not None:
            yield from self.outer.legal()

    def resolve(
        self, name: Name, *, among: Iterable[str] | None = None, what: str = "", absent: bool = False
    ) -> Declared | None:
        """What a name stands for; reports an unknown one (E101), one said later (E110), and one that is not
        in every sample (E111), unless it may be `absent`."""
        declared = self.find(name.text)
        if declared is not None:
            self.use(name.text)
            if not absent and not self._is_there(declared):
                self._report_absent(name, declared)
                return None
            return declared
        if self.is_poisoned(name.text):
            return None
        if name.text in self.later:
            after = self.later[name.text]
            verb = {"turn": "said", "draw": "drawn"}.get(after.what, "made")
            own = self.place == f"`{name}`"
            self.report(
                "E110",
                f"`{name}` cannot be quoted in itself"
                if own
                else f"`{name}` is {verb} after {self.place} is written",
                name.span,
                secondary=(Label(after.span, f"{verb} here"),),
                hint="what was refused is `{{ refused }}`"
                if own and "refused" in self.names
                else "turns are written in order; only earlier ones can be quoted",
            )
            return None
        # Once is enough: its other uses are the same fault.
        self.first(name.text)
        guess = suggest(name.text, self.names if self.unknown else self.legal() if among is None else among)
        elsewhere = "only `revise` knows what was refused, and the reason" if name.text in _REVISED else ""
        elsewhere = elsewhere or self.unknown
        noun = f"no {what} of this recipe" if what else "not defined here"
        self.report(
            "E101",
            f"`{name}` is {noun}",
            name.span,
            secondary=self._meant(guess, name),
            hint=f"did you mean `{guess}`?" if guess else elsewhere,
            fix=Fix(name.span, guess) if guess else None,
        )
        return None

    def _is_there(self, declared: Declared) -> bool:
        """Whether what is declared is there wherever the statement being bound is."""
        return not declared.when or self.known_ways().implies(self.under, declared.when)

    def certain(self, path: Path, type_: Type) -> bool:
        """Whether the conditions of the statement being bound say that something optional is there."""
        return bool(self.under) and self.known_ways().certain(self.under, path, type_)

    def known_ways(self) -> Ways:
        """How the conditions of the conversation can fall."""
        if self.ways is not None:
            return self.ways
        return Ways() if self.outer is None else self.outer.known_ways()

    def _report_absent(self, name: Name, declared: Declared) -> None:
        verb = {"turn": "said", "let": "there"}.get(declared.what, "made")
        self.report(
            "E111",
            f"`{name}` is not {verb} in every sample in which {self.place} is",
            name.span,
            secondary=(Label(declared.span, f"{verb} only `{declared.written}`"),),
            hint=f"put `{declared.written}` before the braces of {self.place}, or quote a `let` that is "
            f"`either({name}, ...)`",
        )

    def _meant(self, guess: str | None, name: Name) -> tuple[Label, ...]:
        """Shows what was probably meant, where it is a step of the same conversation."""
        declared = self.find(guess) if guess is not None else None
        if declared is None or declared.what not in ("turn", "step", "let", "draw"):
            return ()
        return (Label(declared.span, f"this {declared.what} is"),)

    def resolve_path(
        self, reference: Reference, *, absent: bool = False
    ) -> tuple[Declared | None, tuple[Name, ...]]:
        """What a dotted reference begins with, and the parts that are left: a library's names are
        looked up in the library.  What it begins with may be `absent` where that is said."""
        declared = self.resolve(reference.parts[0], absent=absent)
        rest = reference.parts[1:]
        if declared is None or declared.what != "library" or not rest:
            return declared, rest
        inner: Scope = declared.thing
        member = inner.names.get(rest[0].text)
        if member is None:
            if not inner.is_poisoned(rest[0].text):
                guess = suggest(rest[0].text, inner.names)
                self.report(
                    "E101",
                    f"`{declared.name}` has no `{rest[0]}`",
                    rest[0].span,
                    hint=f"did you mean `{guess}`?" if guess else "",
                    fix=Fix(rest[0].span, guess) if guess else None,
                )
            return None, ()
        self.used.add(declared.name)
        return member, rest[1:]

    def thing(
        self,
        expression: Expression,
        kinds: tuple[type, ...],
        noun: str,
        *,
        hint: str = "",
        instead: Mapping[str, str] | None = None,
    ) -> Any:
        """What a reference declares, when it is one of some kinds; `noun` says which, `hint` what to write
        where it is no reference, and `instead` what to write for what is something else, by what it is.

        None after a report, or where the name is poisoned.
        """
        if not isinstance(expression, Reference):
            self.report("E202", f"{noun} is named here", expression.span, hint=hint)
            return None
        declared, rest = self.resolve_path(expression)
        if declared is None:
            return None
        if isinstance(declared.thing, kinds) and not rest:
            return declared.thing
        self.report(
            "E202",
            f"`{expression}` is {'an' if declared.what[0] in 'aeiou' else 'a'} {declared.what}, not {noun}",
            expression.span,
            secondary=(Label(declared.span, "declared here"),),
            hint=(instead or {}).get(declared.what, ""),
        )
        return None

    def report(
        self,
        code: str,
        message: str,
        primary: Span | None,
        *,
        label: str = "",
        secondary: tuple[Label, ...] = (),
        hint: str = "",
        fix: Fix | None = None,
    ) -> None:
        self.diagnostics.add(Diagnostic(code, message, primary, label, secondary, hint, fix))

    def report_schema(self, name: Name) -> None:
        """E202, once for each, for a field asked of a schema: only of its records has it a value."""
        if self.first(f"{name} is a schema"):
            self.report(
                "E202",
                f"`{name}` is a schema, and nothing of that name is drawn or made here",
                name.span,
                hint=f"for example `draw {name} from ...`",
            )

    def report_shares(self, name: str, primary: Span, shares: Iterable[Ratio]) -> None:
        """E302 for percentages that do not sum to 100."""
        shares = list(shares)
        total = sum(share.percent for share in shares)
        self.report(
            "E302",
            f"the shares of `{name}` sum to {total:f}%, not 100%",
            primary,
            secondary=tuple(Label(share.span, "") for share in shares),
        )

    def report_override(
        self, message: str, name: str, text: str, hint: str, secondary: tuple[Label, ...] = ()
    ) -> None:
        """E602: a fault of `--set`, which has no place in a file."""
        self.diagnostics.add(
            Diagnostic("E602", message, None, secondary=secondary, hint=hint, command=f"--set {name}={text}")
        )
