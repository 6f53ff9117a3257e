"""Pages of single words: what the tables know of each, and what the reference says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files

from synth.compiler.bind.conversations.evaluations import MEASURES
from synth.compiler.bind.conversations.spreads import EXAMPLES as SPREAD_EXAMPLES
from synth.compiler.bind.conversations.spreads import SPREADS
from synth.compiler.bind.declarations.lets import EXAMPLES, PARAMETERS
from synth.compiler.bind.declarations.sources import INDEXES, READERS, SPLITTERS
from synth.compiler.bind.expressions.either import EXAMPLE as EITHER
from synth.compiler.bind.expressions.kinds import HOLDERS
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.signature import Parameter
from synth.compiler.plan.types import BUILT_IN_SCHEMAS, SCALARS
from synth.compiler.stdlib.checks import CHECKS
from synth.compiler.stdlib.filters import FILTERS

# The chapter that tells more of each sort of word, and of each holder's fields.
_CHAPTERS = {
    "checks": "checks",
    "filters": "templates",
    "functions": "sources",
    "measures": "evaluations",
    "backends": "models",
    "types": "types",
}
_OF_HOLDERS = {
    "file": "overview",
    "library": "libraries",
    "recipe": "overview",
    "model": "models",
    "source": "sources",
    "conversation": "conversations",
    "turn": "turns",
    "step": "turns",
    "preference": "preferences",
    "mix": "mixes",
    "export": "exports",
}
_OF = {
    "number": "of numbers",
    "text": "of texts",
    "messages": "of conversations",
    "any": "of texts and conversations",
    "calls": "of the calls of tools",
}
# What is called on answers.
_OF_ANSWERS = {
    "attempts": "`rejected = attempts(chats.answer)` is a side of a preference.",
    "best": "`chosen = best(chats.answer)` is a side of a preference.",
    "worst": "`rejected = worst(chats.answer)` is a side of a preference.",
    "most_common": "`pick = most_common(vote.label)` says which of several candidates is taken.",
}
_OF_JUDGING = ("rubric", "candidates", "marks", "pick", "revise", "margin")
_BY_MARKS = ("best", "worst", "most_common")
# What has no page of its own: what it is, and the chapter that tells of it.
_LED = {
    "ranked": ("`export order: ranked from chats` has all answers of a round, the best first.", "judging"),
    "agreement": ("`vote.agreement` is the share of candidates that agree, from 0 to 1.", "judging"),
    "total": ("`answer.quality.total` is the sum of the marks of an answer by a rubric.", "judging"),
    "refused": ("`{{ refused }}` is what was refused, in the text of `revise`.", "judging"),
    "reason": ("`{{ reason }}` says why an answer was refused, in the text of `revise`.", "judging"),
    "sql": (
        '`sql_runs(...)` and `parses_as("sql")` check queries; `--from text_to_sql` begins such a recipe.',
        "code",
    ),
    "unpaired": ("`export x: unpaired from chats` has answers with a label.", "exports"),
}
_SECTION = re.compile(r"^## (?P<word>\w+)\n(?P<body>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def listed() -> dict[str, list[str]]:
    """The words that can be explained, by sort."""
    return {
        "checks": list(CHECKS),
        "filters": list(FILTERS),
        "functions": list(
            dict.fromkeys([*PARAMETERS, *SPREADS, "either", *READERS, *SPLITTERS, *INDEXES, *_OF_ANSWERS])
        ),
        "measures": list(MEASURES),
        "fields": sorted({word for holder in HOLDERS.values() for word in holder.kinds}),
        "backends": list(BACKENDS),
        "types": [*SCALARS, "enum", "list", "json", "messages", "chunk", *BUILT_IN_SCHEMAS],
    }


def page(word: str) -> str:
    """The page of a word as Markdown, or `""`: one part for each thing that is called so."""
    parts = [
        "\n\n".join(filter(None, (head, _section(sort, word), f"More: `synth explain {chapter}`.")))
        for sort, words in listed().items()
        if word in words
        for head, chapter in _heads(sort, word)
    ]
    return f"# {word}\n\n" + "\n\n".join(parts) + "\n" if parts else ""


def led(word: str) -> str:
    """Where something without a page is told of, as Markdown, or `""`: the name of a method or recipe, or a
    word of a chapter."""
    said, chapter = _LED.get(word, ("", "methods"))
    if not said:
        named = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
        table = (files("synth") / "reference" / "methods.md").read_text("utf-8").splitlines()
        rows = [line for line in table if line.startswith("|")]
        found = [line for line in rows[2:] if named.search(line)] if len(word) > 2 else []
        said = "\n".join([*rows[:2], *found]) if found else ""
    return f"# {word}\n\n{said}\n\nMore: `synth explain {chapter}`.\n" if said else ""


def _heads(sort: str, word: str) -> Iterator[tuple[str, str]]:
    """What the tables say, and the chapter that says more."""
    chapter = _CHAPTERS.get(sort, "")
    if sort == "checks":
        check = CHECKS[word]
        yield f"`{check.example}` is a check {_OF[check.takes]}.{_arguments(check.parameters)}", chapter
    elif sort == "filters":
        yield f"`{{{{ name | {word} }}}}` is a filter: it prints {_all(FILTERS[word].accepts)}.", chapter
    elif sort == "measures":
        measure = MEASURES[word]
        yield f"`{measure.example}` is a measure.{_arguments(measure.parameters)}", chapter
    elif sort == "functions":
        chapter = "conditions" if word == "either" else "judging" if word in _BY_MARKS else chapter
        yield from ((head, chapter) for head in _functions(word))
    elif sort == "backends":
        backend = BACKENDS[word]
        yield (
            f"`from {backend.example}` is a backend of models; it can {_all(backend.capabilities)}.",
            chapter,
        )
    elif sort == "types":
        if not any(word in words for each, words in listed().items() if each not in ("types", "fields")):
            yield f"`{word}` is a type, as in `param name: {word}` or a schema's field.", chapter
    else:
        yield _field(word)


def _functions(word: str) -> Iterator[str]:
    if word in PARAMETERS:
        yield f"`{EXAMPLES[word]}` finds passages.{_arguments(PARAMETERS[word])}"
    if word in SPREADS:
        yield f"`draw x from {SPREAD_EXAMPLES[word]}` draws values.{_arguments(SPREADS[word])}"
    for table, what in ((READERS, "a reader"), (SPLITTERS, "a splitter"), (INDEXES, "an index")):
        if word in table:
            yield f"`{table[word].example}` is {what} of sources.{_arguments(table[word].parameters)}"
            return
    if word == "either":
        yield f"`let task = {EITHER}` is the first of several that is in the sample."
    if word in _OF_ANSWERS:
        yield _OF_ANSWERS[word]


def _field(word: str) -> tuple[str, str]:
    """A field or a kind of statement, where it stands and what it may be."""
    holders = [name for name in HOLDERS if word in HOLDERS[name].kinds]
    places: dict[str, list[str]] = {}
    words: tuple[str, ...] = ()
    for name in holders:
        kind = HOLDERS[name].kinds[word]
        places.setdefault(kind.example, []).append(HOLDERS[name].phrase)
        words = kind.field.words if kind.field is not None else words
    said = "; ".join(f"`{example}` stands in {_all(found, 'or')}" for example, found in places.items())
    choice = f"  It is {_all([f'`{each}`' for each in words], 'or')}." if words else ""
    chapter = "judging" if word in _OF_JUDGING else _OF_HOLDERS.get(holders[0], "overview")
    return f"{said}.{choice}", chapter


def _arguments(parameters: Iterable[Parameter]) -> str:
    shown = [
        f"`{each.name}`: {each.type.name.replace('_', ' ')}"
        + (
            f" ({each.default})"
            if isinstance(each.default, int | str)
            else ", optional"
            if each.optional
            else ""
        )
        for each in parameters
    ]
    return f"  Arguments: {'; '.join(shown)}." if shown else ""


def _all(names: Iterable[str], last: str = "and") -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def _section(sort: str, word: str) -> str:
    """What the reference says of a word, with its examples."""
    found = files("synth") / "reference" / "words" / f"{sort}.md"
    if not found.is_file():
        return ""
    text = found.read_text("utf-8")
    return next((part["body"].strip() for part in _SECTION.finditer(text) if part["word"] == word), "")
