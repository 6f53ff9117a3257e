"""Types of Python, as far as values of recipes have them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from pathlib import Path

from synth.compiler.bind.functions.files import BadPython, Project, PythonFile, imported_from
from synth.compiler.plan.types import BOOLEAN, COUNT, NUMBER, PATH, TEXT, Schema, Type

# Any JSON, and any record.
ANY = Type("any")
ANY_RECORD = Type("record")

_PLAIN = {
    "str": TEXT,
    "int": COUNT,
    "float": NUMBER,
    "bool": BOOLEAN,
    "Path": PATH,
    "object": ANY,
    "Any": ANY,
    "dict": ANY_RECORD,
    "Dict": ANY_RECORD,
}
_INSTEAD = {
    "tuple": "`list[...]` holds any number of one type; a `TypedDict` has a field for each of several",
    "set": "JSON has no sets: `list[...]`",
    "frozenset": "JSON has no sets: `list[...]`",
    "bytes": "JSON has no bytes: `str`",
    "Sequence": "write `list[...]`",
    "Iterable": "write `list[...]`",
    "Iterator": "write `list[...]`",
    "Mapping": "write `dict[str, object]`",
    "datetime": "JSON has no dates: `str`",
    "date": "JSON has no dates: `str`",
    "Decimal": "write `float`",
}
_LEGAL = (
    "there are `str`, `int`, `float`, `bool`, `Literal[...]`, `list[...]`, `TypedDict`, `dict[str, ...]`, "
    "`Path`, and `... | None`"
)


@dataclass(frozen=True)
class Annotations:
    """Reads the annotations of a file.  `open` are the names that are being read."""

    project: Project
    file: PythonFile
    root: Path
    open: tuple[tuple[str, str], ...] = field(default=())

    def type(self, node: ast.expr) -> Type:
        """The type that an annotation says.  Raises BadPython."""
        match node:
            case ast.Constant(value=None):
                raise self._bad(node, "`None` alone is no type of a value", "write `str | None`")
            case ast.Constant(value=str() as text):
                return self._quoted(node, text)
            case ast.BinOp(op=ast.BitOr()):
                return self._either(node, [*_sides(node)])
            case ast.Subscript():
                return self._subscript(node)
            case ast.Name() | ast.Attribute():
                return self._named(node)
        raise self._bad(node, f"`{ast.unparse(node)}` is no type that a recipe has", _LEGAL)

    def _quoted(self, node: ast.expr, text: str) -> Type:
        try:
            inner = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._bad(node, f"`{text}` is no type", _LEGAL) from None
        for child in ast.walk(inner):
            ast.copy_location(child, node)
        return self.type(inner)

    def _either(self, node: ast.expr, sides: list[ast.expr]) -> Type:
        present = [side for side in sides if not _is_none(side)]
        if len(present) != 1:
            raise self._bad(
                node,
                f"`{ast.unparse(node)}` is of several types, and a value of a recipe is of one",
                "write one type, or `object` for any JSON",
            )
        type_ = self.type(present[0])
        return replace(type_, optional=type_.optional or len(present) < len(sides))

    def _subscript(self, node: ast.Subscript) -> Type:
        name, inner = _last(node.value), node.slice
        parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        match name:
            case "list" | "List" if len(parts) == 1:
                return Type("list", (self.type(parts[0]),))
            case "dict" | "Dict" if len(parts) == 2:
                if _last(parts[0]) != "str":
                    raise self._bad(
                        node, "the names of a record's fields are texts", "write `dict[str, ...]`"
                    )
                value = self.type(parts[1])
                return ANY_RECORD if value == ANY else Type("record", (value,))
            case "Literal":
                return self._literal(node, parts)
            case "Optional" if len(parts) == 1:
                return replace(self.type(parts[0]), optional=True)
            case "Union":
                return self._either(node, parts)
            case "Annotated" | "Required" | "ReadOnly" | "Final":
                return self.type(parts[0])
        written = ast.unparse(node)
        raise self._bad(node, f"`{written}` is no type that a recipe has", _INSTEAD.get(name, _LEGAL))

    def _literal(self, node: ast.Subscript, parts: list[ast.expr]) -> Type:
        present = [part for part in parts if not _is_none(part)]
        words = [part.value for part in present if isinstance(part, ast.Constant)]
        if len(words) != len(present) or not words or not all(isinstance(word, str) for word in words):
            raise self._bad(
                node, f"`{ast.unparse(node)}` holds more than words", 'write `Literal["yes", "no"]`'
            )
        return Type("enum", words=tuple(map(str, words)), optional=len(present) < len(parts))

    def _named(self, node: ast.Name | ast.Attribute) -> Type:
        name = _last(node)
        if isinstance(node, ast.Name):
            declared = self._declared(name, node)
            if declared is not None:
                return declared
        if name in ("list", "List"):
            raise self._bad(node, f"`{name}` does not say of what", "for example `list[str]`")
        if name in _PLAIN:
            return _PLAIN[name]
        raise self._bad(
            node, f"`{ast.unparse(node)}` is no type that a recipe has", _INSTEAD.get(name, _LEGAL)
        )

    def _declared(self, name: str, node: ast.expr) -> Type | None:
        """What a name stands for that the file declares, or imports from another of the project."""
        if (self.file.name, name) in self.open:
            raise self._bad(node, f"`{name}` is made of itself, and a value of a recipe ends", "")
        within = replace(self, open=(*self.open, (self.file.name, name)))
        for statement in reversed(self.file.tree.body):
            match statement:
                case ast.ClassDef() if statement.name == name:
                    return within._record(statement)
                case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                    return within.type(statement.value)
                case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                    return within.type(value)
                case ast.ImportFrom():
                    alias = next((a for a in statement.names if (a.asname or a.name) == name), None)
                    path = alias and imported_from(
                        self.file, statement, self.project.main.path.parent, self.root
                    )
                    file = self.project.file(path) if path else None
                    if file is not None and alias is not None:
                        return replace(within, file=file)._declared(alias.name, node)
                case _ if type(statement).__name__ == "TypeAlias" and _last(statement.name) == name:  # type: ignore[attr-defined]
                    return within.type(statement.value)  # type: ignore[attr-defined]
        return None

    def _record(self, declared: ast.ClassDef) -> Type:
        schema = self._fields(declared)
        if schema is None:
            raise self._bad(
                declared,
                f"`{declared.name}` is a class, and a value of a recipe is JSON",
                f"for records: `class {declared.name}(TypedDict)`",
            )
        return Type("record", schema=Schema(declared.name, tuple(schema.items())))

    def _fields(self, declared: ast.ClassDef) -> dict[str, Type] | None:
        """The fields of a TypedDict, those of what it extends first; None for another class."""
        fields: dict[str, Type] = {}
        is_record = False
        for base in declared.bases:
            if _last(base) == "TypedDict":
                is_record = True
                continue
            type_ = self._declared(_last(base), base) if isinstance(base, ast.Name) else None
            if type_ is None or type_.schema is None:
                return None
            fields |= dict(type_.schema.fields)
            is_record = True
        if not is_record:
            return None
        total = not any(
            keyword.arg == "total"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is False
            for keyword in declared.keywords
        )
        for statement in declared.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                written = statement.annotation
                marks = _last(written.value) if isinstance(written, ast.Subscript) else ""
                inner = written.slice if isinstance(written, ast.Subscript) else written
                type_ = self.type(inner if marks == "NotRequired" else written)
                lacks = marks == "NotRequired" or (not total and marks != "Required")
                fields[statement.target.id] = replace(type_, optional=type_.optional or lacks)
        return fields

    def _bad(self, node: ast.AST, message: str, hint: str) -> BadPython:
        return BadPython(message, self.file.span(node), hint)


def _sides(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_sides(node.left), *_sides(node.right)]
    return [node]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _last(node: ast.AST) -> str:
    """The last name of `typing.Literal`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
