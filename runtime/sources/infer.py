"""What a file holds, in the words of the language: the schema of its rows and the source that reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import plural, quoted, visible
from synth.base.errors import ConfigError, RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan, SourcePlan
from synth.compiler.plan.steps import CallPlan
from synth.runtime.sources.faults import Fault, Unusable, names
from synth.runtime.sources.locate import Located, locate
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.readers.dataset import FORMATS
from synth.runtime.sources.readers.lines import begins_with
from synth.runtime.sources.scan import files_of
from synth.runtime.sources.seen import MOST_FIELDS, NAME, Seen
from synth.runtime.sources.shapes import Form, conversation
from synth.runtime.sources.tools import DEFINITIONS

# So many rows tell what the others are.
MOST_ROWS = 20_000
# One row in so many without a value is told of: it may be a mistake.
_FEW = 20
_PERCENTAGE = re.compile(r"-?[0-9.]+ ?%", re.ASCII)
_ID = re.compile(r"(?:.*_)?(?:id|uuid|guid|key)|.*I[dD]", re.ASCII)
_PREAMBLE = "edition 1\n\nrecipe inferred { seed = 1 }\n\n"


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
        if len(columns) > 10 * MOST_FIELDS:
            raise ConfigError(
                f"{located.name} has more than {10 * MOST_FIELDS:,} columns: name a narrower file"
            )
    if not count:
        raise ConfigError(f"{located.name} has no rows that can be read: check what is in it")
    schema = _singular(name)
    id_ = _id_of(columns, count)
    call += ")" if id_ is None else f", id = {canonical_json(id_)})"
    for enums in (True, False):
        text = _statements(columns, count, schema, name, call, enums=enums, named=id_ or "")
        if _compiles(text):
            return text, whole
    # A name that means something else in the language.
    columns = {each: seen for each, seen in columns.items() if _compiles(_alone(each, seen, count))}
    return _statements(columns, count, schema, name, call, enums=False, named=id_ or ""), whole


def _statements(
    columns: Mapping[str, Seen],
    rows: int,
    schema: str,
    source: str,
    call: str,
    *,
    enums: bool,
    named: str | None = None,
) -> str:
    made: list[str] = []
    _schema(schema, columns, rows, made, {schema}, enums=enums, named=named)
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
    name: str,
    columns: Mapping[str, Seen],
    rows: int,
    made: list[str],
    taken: set[str],
    *,
    enums: bool,
    named: str | None = None,
) -> None:
    """Writes a schema, and before it those that it holds; `named` is the column that names rows, if any."""
    lines, left = [], []
    chats = any(seen.chats for seen in columns.values())
    for column, seen in columns.items():
        if chats and column in DEFINITIONS and not seen.chats:
            # As a field it would lose what its definitions do not have in common.
            left.append((column, "defines the tools of the messages"))
            continue
        if not NAME.fullmatch(column) or column in ("true", "false"):
            left.append((column, "is no name of the language"))
            continue
        type_ = _type(column, seen, made, taken, enums=enums)
        if type_ is None:
            left.append((column, _why(seen)))
        else:
            lines.append(f"  {column}: {type_}{'?' if seen.there < rows else ''}")
            lines += [f"  # {names([column])} {why}." for why in _surprises(type_, seen, rows)]
            if named is not None and _ID.fullmatch(column) and column != named:
                lines += [f"  # {names([column])} {why}." for why in _no_id(seen, rows)]
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
            seen.fields and len(seen.fields) < MOST_FIELDS and all(map(NAME.fullmatch, seen.fields))
        ):
            schema = _singular(column)
            while schema in taken:
                schema += "_"
            taken.add(schema)
            _schema(schema, seen.fields, seen.rows, made, taken, enums=enums)
            return schema
    return None


def _surprises(type_: str, seen: Seen, rows: int) -> Iterator[str]:
    """Why a column is not of the type that most of its values suggest."""
    odd = seen.there - seen.numbers
    if type_ == "text" and seen.numbers and seen.no_number is not None and odd <= seen.numbers:
        such = f"{odd:,} of {seen.there:,} values {'is no number' if odd == 1 else 'are no numbers'}"
        yield f"is text: {such}, such as {quoted(seen.no_number)}"
    if type_ == "text" and seen.there and seen.days == seen.there:
        yield "holds days, which are text here"
    if type_ == "text" and seen.no_number is not None and _PERCENTAGE.fullmatch(seen.no_number):
        yield "may be a `ratio`, if all of it is percentages"
    absent = rows - seen.there
    if seen.there and 0 < absent * _FEW <= rows:
        yield f"has a `?` for {plural(absent, 'row')} of {rows:,} without a value"


def _no_id(seen: Seen, rows: int) -> Iterator[str]:
    """Why a column with the name of an id names no rows."""
    if seen.there < rows:
        yield f"names no rows: {plural(rows - seen.there, 'row')} of {rows:,} without a value"
    elif seen.repeated is not None:
        yield f"names no rows: {quoted(seen.repeated)} is there more than once"
    elif not seen.kinds <= {"text", "number"}:
        yield f"names no rows: it holds {' and '.join(sorted(seen.kinds))}"


def _why(seen: Seen) -> str:
    if not seen.kinds:
        return "holds nothing"
    if seen.holes:
        return "holds lists with nothing at some places"
    if seen.kinds == {"number", "text"} and seen.no_number is not None:
        odd = seen.there - seen.numbers
        verb = "is" if odd == 1 else "are"
        return (
            f"holds number and text ({odd:,} of {seen.there:,} {verb} text, such as {quoted(seen.no_number)})"
        )
    if len(seen.kinds) > 1:
        return f"holds {' and '.join(sorted(seen.kinds))}"
    return "holds what no field does"


def _id_of(columns: Mapping[str, Seen], rows: int) -> str | None:
    """A column of ids, where there is one."""
    found = [
        column
        for column, seen in columns.items()
        if _ID.fullmatch(column)
        and seen.there == rows == len(seen.distinct)
        and (seen.cells or seen.kinds <= {"text"} or (seen.kinds == {"number"} and seen.integral))
    ]
    return min(found, key=lambda each: (each.lower() != "id", each.lower() != "uuid"), default=None)


class _All:
    """All columns of a table."""

    has_messages = False

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
    return found if NAME.fullmatch(found) else otherwise


def _singular(name: str) -> str:
    word = "".join(part[:1].upper() + part[1:] for part in name.split("_") if part)
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
