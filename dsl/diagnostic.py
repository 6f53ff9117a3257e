"""What the compiler has to say about a recipe, as values.

Text, JSON and GitHub annotations are views of these values (`dsl.render`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dsl.source import Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that a diagnostic points at, with a few words of its own."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """An edit that would remove the fault: the span's text becomes `replacement`."""

    span: Span
    replacement: str

    @property
    def summary(self) -> str:
        if not self.replacement:
            return "remove it"
        return f"replace with `{self.replacement}`"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault or warning.

    `message` is one sentence in lower case without a full stop; `hint` says what to
    write instead; `label` stands beside the primary span's underline.  `primary` is
    None for faults of the command line, which `command` then quotes.
    """

    code: str
    message: str
    primary: Span | None
    label: str = ""
    secondary: tuple[Label, ...] = ()
    hint: str = ""
    fix: Fix | None = None
    command: str = ""

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self.code.startswith("W") else Severity.ERROR


class Diagnostics:
    """Collects diagnostics in the order found; the same fault at the same place counts once."""

    def __init__(self) -> None:
        self._items: list[Diagnostic] = []
        self._seen: set[tuple[str, int, int, str]] = set()

    def add(self, diagnostic: Diagnostic) -> None:
        at = diagnostic.primary
        key = (
            diagnostic.code,
            at.start if at else -1,
            id(at.source) if at else 0,
            diagnostic.message if at is None else "",
        )
        if key not in self._seen:
            self._seen.add(key)
            self._items.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    @property
    def has_errors(self) -> bool:
        return any(item.severity is Severity.ERROR for item in self._items)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """By file and place; those without a place last."""

        def place(item: Diagnostic) -> tuple[bool, str, int]:
            at = item.primary
            return (at is None, at.source.name if at else "", at.start if at else 0)

        return tuple(sorted(self._items, key=place))
