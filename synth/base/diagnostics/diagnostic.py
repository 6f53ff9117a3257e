"""What the compiler has to say about a recipe, as values.

Text, JSON and GitHub annotations are views of these values (`synth.base.diagnostics.render`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from synth.base.diagnostics.source import Span


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


# Faults of the text itself, after which the rest of the line means something else.
_BREAKS_ITS_LINE = frozenset({"E001", "E002", "E003", "E004", "E005"})


# What cannot be judged, and what is out of place, when a bracket is missing.
_NEEDS_BRACKETS = ("E101", "E104", "E110", "E201", "E202", "E204", "E205", "E3", "E5", "W7")
_MISPLACED = frozenset({"E102", "E103", "E107", "E108"})


def _line(item: Diagnostic) -> tuple[int, int]:
    at = item.primary
    return (0, 0) if at is None else (id(at.source), at.source.position(at.start)[0])


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

    def without_cascades(self) -> Diagnostics:
        """The same, less what follows from faults of the text itself.

        Nothing more is said about a line whose text is at fault.  Where a bracket is missing,
        names and counts cannot be judged, since any declaration may be inside another; of what
        stands in the wrong place, only the first is kept, which is about where it went wrong.
        Warnings wait until there are no faults.
        """
        broken = {_line(item) for item in self._items if item.code in _BREAKS_ITS_LINE}
        lost = any(item.code == "E003" for item in self._items)
        faulty = self.has_errors
        misplaced = 0
        kept = Diagnostics()
        for item in self.sorted():
            if faulty and item.severity is Severity.WARNING:
                continue
            if not item.code.startswith("E0"):
                if _line(item) in broken or (lost and item.code.startswith(_NEEDS_BRACKETS)):
                    continue
                misplaced += lost and item.code in _MISPLACED
                if misplaced > 1 and item.code in _MISPLACED:
                    continue
            kept.add(item)
        return kept

    @property
    def has_errors(self) -> bool:
        return any(item.severity is Severity.ERROR for item in self._items)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """By file and place; those without a place last."""

        def place(item: Diagnostic) -> tuple[bool, str, int]:
            at = item.primary
            return (at is None, at.source.name if at else "", at.start if at else 0)

        return tuple(sorted(self._items, key=place))
