"""What a file holds, in the words of the language: the schema of its rows and the source that reads it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import visible
from synth.base.errors import ConfigError, RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import CallPlan, Plan, SourcePlan
from synth.runtime.sources.faults import Fault, Unusable, names
from synth.runtime.sources.locate import Located, locate
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.readers.dataset import FORMATS
from synth.runtime.sources.readers.lines import begins_with
from synth.runtime.sources.record import Cell
from synth.runtime.sources.rows.values import plain
from synth.runtime.sources.scan import files_of
from synth.runtime.sources.shapes import Form, conversation

# So many rows tell what the others are.
MOST_ROWS = 20_000
_MOST_WORDS = 12
_MOST_FIELDS = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_ID = re.compile(r"(?:.*_)?(?:id|uuid|guid|key)|.*I[dD]", re.ASCII)
_PREAMBLE = "edition 1\n\nrecipe inferred { seed = 1 }\n\n"


@dataclass(slots=True)
class Seen:
    """What the values of one column are."""

    there: int = 0
    kinds: set[str] = field(default_factory=set)
    low: float = 0
    integral: bool = True
    words: Counter[str] | None = field(default_factory=Counter)
    distinct: set[int] = field(default_factory=set)
    items: Seen | None = None
    holes: bool = False
    fields: dict[str, Seen] = field(default_factory=dict)
    rows: int = 0
    cells: bool = False

    def add(self, value: Any) -> None:
        """Takes one value that is there."""
        self.there += 1
        if type(value) is Cell:
            self.cells = True
            self._text(value)
            value = _meant(value)
        else:
            value = plain(value)
            if isinstance(value, str):
                self._text(value)
            elif isinstance(value, int):
                self.distinct.add(hash(value))
        match value:
            case bool():
                self.kinds.add("boolean")
            case int() | float():
                self.kinds.add("number")
                self.low = min(self.low, value)
                self.integral = self.integral and float(value).is_integer() and abs(value) < 2**63
            case str():
                self.kinds.add("text")
            case list():
                self.kinds.add("list")
                self.items = self.items or Seen()
                for item in value:
                    if item is None:
                        self.holes = True
                    else:
                        self.items.add(item)
            case Mapping():
                self.kinds.add("object")
                self.rows += 1
                for name, inner in islice(value.items(), _MOST_FIELDS):
                    if inner is not None:
                        self.fields.setdefault(str(name), Seen()).add(inner)
                    else:
                        self.fields.setdefault(str(name), Seen())
            case _:
                self.kinds.add("bytes")

    def _text(self, text: str) -> None:
        self.distinct.add(hash(text))
        if self.words is not None:
            self.words[str(text[:41])] += 1
            if len(self.words) > _MOST_WORDS:
                self.words = None

    @property
    def enum(self) -> list[str]:
        """The words of an enum, where the texts are few and short."""
        words = self.words or Counter()
        if len(words) < 2 or self.there < 4 * len(words) or not all(map(_NAME.fullmatch, words)):
            return []
        return sorted(words)

    @property
    def chats(self) -> bool:
        """Whether it is a list of messages."""
        there = self.items.fields.keys() if self.items is not None else frozenset()
        return {"role", "content"} <= there or {"from", "value"} <= there


def inferred(folder: Path, written: str, *, rows: bool = False) -> tuple[str, bool]:
    """Statements that read a file of a project's `folder`, and whether all of its rows were looked at.

    Conversations are read as such, unless they are to be read as `rows`.  The text compiles below an edition
    and a recipe's name.  Raises ConfigError for what cannot be read.
    """
    reader = _reader(folder / written, written)
    name = _identifier(Path(written).name.split(".")[0], "rows")
    source = SourcePlan(name=name, type="messages", reader=CallPlan(name=reader, arguments={"path": written}))
    located = locate(Plan(edition=1, recipe="inferred", seed=1, sources=(source,)).below(folder), source)
    call = f"{reader}({canonical_json(written)}"
    if not rows and _holds_conversations(located):
        return f"source {name}: messages from {call})\n", True
    columns: dict[str, Seen] = {}
    count, whole = 0, True
    for record in islice(_records(located), MOST_ROWS + 1):
        if count == MOST_ROWS:
            whole = False
            break
        if isinstance(record, Fault):
            continue
        count += 1
        for column, value in record.items():
            seen = columns.setdefault(column, Seen())
            if (value is not None and value != "") or type(value) is str:
                seen.add(value)
        if len(columns) > 10 * _MOST_FIELDS:
            raise ConfigError(
                f"{located.name} has more than {10 * _MOST_FIELDS:,} columns: name a narrower file"
            )
    if not count:
        raise ConfigError(f"{located.name} has no rows that can be read: check what is in it")
    schema = _singular(name)
    id_ = _id_of(columns, count)
    for enums in (True, False):
        text = _statements(columns, count, schema, name, f"{call}{id_})", enums=enums)
        if _compiles(text):
            return text, whole
    # A name that means something else in the language.
    columns = {each: seen for each, seen in columns.items() if _compiles(_alone(each, seen, count))}
    return _statements(columns, count, schema, name, f"{call}{id_})", enums=False), whole


def _statements(
    columns: Mapping[str, Seen], rows: int, schema: str, source: str, call: str, *, enums: bool
) -> str:
    made: list[str] = []
    _schema(schema, columns, rows, made, {schema}, enums=enums)
    return "\n".join([*made, f"source {source}: {schema} from {call}", ""])


def _alone(column: str, seen: Seen, rows: int) -> str:
    return _statements({column: seen}, rows, "Row", "rows", 'jsonl("x")', enums=False)


def _compiles(text: str) -> bool:
    try:
        compile_text(_PREAMBLE + text)
    except (RecipeError, ConfigError):
        return False
    return True


def _schema(
    name: str, columns: Mapping[str, Seen], rows: int, made: list[str], taken: set[str], *, enums: bool
) -> None:
    """Writes a schema, and before it those that it holds."""
    lines, left = [], []
    for column, seen in columns.items():
        if not _NAME.fullmatch(column) or column in ("true", "false"):
            left.append((column, "is no name of the language"))
            continue
        type_ = _type(column, seen, made, taken, enums=enums)
        if type_ is None:
            left.append((column, _why(seen)))
        else:
            lines.append(f"  {column}: {type_}{'?' if seen.there < rows else ''}")
    lines += [f"  # {names([column])} {why}: it stays with the row." for column, why in left]
    made += [f"schema {name} {{", *lines, "}", ""]


def _type(column: str, seen: Seen, made: list[str], taken: set[str], *, enums: bool) -> str | None:
    if seen.cells and len(seen.kinds) > 1 and seen.kinds != {"list", "text"}:
        # A cell is text whatever it looks like.
        return "text"
    if len(seen.kinds) != 1:
        return "text" if seen.cells else None
    match next(iter(seen.kinds)):
        case "boolean":
            return "boolean"
        case "number":
            return "count" if seen.integral and seen.low >= 0 else "number"
        case "text":
            return f"enum<{', '.join(seen.enum)}>" if enums and seen.enum else "text"
        case "list":
            if seen.chats:
                return "messages"
            if seen.holes:
                return None
            if seen.items is None or not seen.items.there:
                return "list<text>"
            inner = _type(column, seen.items, made, taken, enums=False)
            return None if inner is None or inner == "messages" else f"list<{inner}>"
        case "object" if (
            seen.fields and len(seen.fields) < _MOST_FIELDS and all(map(_NAME.fullmatch, seen.fields))
        ):
            schema = _singular(column)
            while schema in taken:
                schema += "_"
            taken.add(schema)
            _schema(schema, seen.fields, seen.rows, made, taken, enums=enums)
            return schema
    return None


def _why(seen: Seen) -> str:
    if not seen.kinds:
        return "holds nothing"
    if seen.holes:
        return "holds lists with nothing at some places"
    if len(seen.kinds) > 1:
        return f"holds {' and '.join(sorted(seen.kinds))}"
    return "holds what no field does"


def _id_of(columns: Mapping[str, Seen], rows: int) -> str:
    """The argument that names a column of ids, where there is one."""
    found = [
        column
        for column, seen in columns.items()
        if _ID.fullmatch(column)
        and seen.there == rows == len(seen.distinct)
        and (seen.cells or seen.kinds <= {"text"} or (seen.kinds == {"number"} and seen.integral))
    ]
    best = min(found, key=lambda each: (each.lower() != "id", each.lower() != "uuid"), default=None)
    return "" if best is None else f", id = {canonical_json(best)}"


def _meant(cell: Cell) -> Any:
    text = str(cell)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


class _All:
    """All columns of a table."""

    def columns_of(self, header: Iterable[str], file: str) -> list[str]:
        return list(header)

    def fits(self, header: Iterable[str]) -> bool:
        return len(list(header)) > 1


def _records(located: Located) -> Iterator[Mapping[str, Any] | Fault]:
    for _, record in files_of(located, _All()):
        yield record.row


def _holds_conversations(located: Located) -> bool:
    """Whether the first rows are conversations."""
    form = Form(located.source)
    found = 0
    for row in islice(_records(located), 20):
        if isinstance(row, Fault):
            continue
        try:
            conversation(row, form.shape_of(row), Notes())
        except Unusable:
            return False
        found += 1
    return found > 0


def _reader(path: Path, written: str) -> str:
    if path.is_dir():
        return "dataset"
    format_ = next((FORMATS[end] for end in FORMATS if path.name.lower().endswith(end)), None)
    if format_ == "arrow":
        raise ConfigError(f"{visible(written)} is a part of a saved dataset: name its folder")
    if format_ is None:
        raise ConfigError(
            f"{visible(written)} is of no kind that rows are read from: "
            f"{', '.join(sorted(FORMATS))}, or a folder"
        )
    if path.name.lower().endswith(".json"):
        return "jsonl" if _on_lines(path, written) else "json"
    return format_


def _on_lines(path: Path, written: str) -> bool:
    """Whether a file of JSON has an object on each line."""
    if not path.is_file() or begins_with(path, written, b"["):
        return False
    with path.open("rb") as file:
        first = file.readline(1 << 20)
    try:
        return isinstance(json.loads(first), dict) and path.stat().st_size > len(first.strip()) + 2
    except (ValueError, RecursionError):
        return False


def _identifier(text: str, otherwise: str) -> str:
    found = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()
    return found if _NAME.fullmatch(found) else otherwise


def _singular(name: str) -> str:
    word = "".join(part[:1].upper() + part[1:] for part in name.split("_") if part)
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
