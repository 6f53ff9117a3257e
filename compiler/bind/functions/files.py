"""A Python file of the project with what it imports: parsed, hashed, and never imported.

What names a function's source are the syntax trees of its file and of the project's files that it
imports, without places, comments and docstrings.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.base.diagnostics.source import Source, Span


class BadPython(Exception):
    """What is wrong with a Python file, and where: a message without a full stop."""

    def __init__(self, message: str, span: Span | None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hint = hint


@dataclass(frozen=True)
class PythonFile:
    """One file, parsed.  `name` is its path from the project's folder."""

    path: Path
    name: str
    source: Source
    tree: ast.Module

    def span(self, node: ast.AST) -> Span:
        """Where a node is written; of a function or class that is its name's line."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        start = self._offset(line, column)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            at = self.source.text.find(node.name, start + len("def "))
            return Span(self.source, at, at + len(node.name))
        end = self._offset(getattr(node, "end_lineno", line) or line, getattr(node, "end_col_offset", 0) or 0)
        return Span(self.source, start, max(end, start + 1))

    def _offset(self, line: int, column: int) -> int:
        """The offset of a place that Python gives in bytes of UTF-8."""
        starts = self.source.line_starts
        start = starts[min(line, len(starts)) - 1]
        written = self.source.line(min(line, len(starts))).encode("utf-8", "surrogatepass")
        return start + len(written[:column].decode("utf-8", "replace"))

    @cached_property
    def bytes_named(self) -> bytes:
        """What the file does, in one form for every version of Python."""
        return "\n".join(_named(self.tree)).encode("utf-8", "surrogatepass")


def read_python(path: Path, root: Path) -> PythonFile:
    """Reads and parses a file.  Raises BadPython."""
    name = path.relative_to(root).as_posix()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadPython(f"`{name}` cannot be read: {error.strerror}", None) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadPython(f"`{name}` is no UTF-8, on line {line}", None, "save it as UTF-8") from None
    # Where lines begin for Python, they begin here.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    source = Source(name, text, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        lines = len(source.line_starts)
        start = source.line_starts[min(max(error.lineno or 1, 1), lines) - 1]
        at = min(start + max((error.offset or 1) - 1, 0), max(len(text) - 1, 0))
        raise BadPython(f"this is no Python: {error.msg}", Span(source, at, at + 1)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise BadPython(f"`{name}` cannot be parsed: {reason}", Span(source, 0, min(1, len(text)))) from None
    return PythonFile(path, name, source, tree)


@dataclass(frozen=True)
class Project:
    """A Python file and all files of the project that it imports, itself first; `packages` are the
    names of what else it imports and does not come with Python."""

    main: PythonFile
    files: tuple[PythonFile, ...]
    packages: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 of what all of them do, in hex."""
        digest = sha256()
        for file in (self.main, *sorted(self.files[1:], key=lambda other: other.name)):
            # By place beside the first: a project that is moved keeps its digests.
            beside = _beside(file.path, self.main.path.parent)
            digest.update(f"{beside}\0{len(file.bytes_named)}\0".encode("utf-8", "surrogatepass"))
            digest.update(file.bytes_named)
        return digest.hexdigest()

    def file(self, path: Path) -> PythonFile | None:
        return next((file for file in self.files if file.path == path), None)


def gather(path: Path, root: Path) -> Project:
    """Reads a file of the project at `root` and what it imports.  Raises BadPython."""
    main = read_python(path, root)
    files: dict[Path, PythonFile] = {path: main}
    packages: set[str] = set()
    due = [main]
    # A package around the file runs when the file is imported.
    around = [folder / "__init__.py" for folder in path.parents if folder.is_relative_to(root)]
    for init in around:
        if init.is_file() and init not in files and init.parent != root:
            files[init] = read_python(init, root)
            due.append(files[init])
    while due:
        file = due.pop()
        for imported in _imports(file, path.parent, root):
            if isinstance(imported, str):
                packages.add(imported)
            elif imported not in files:
                files[imported] = read_python(imported, root)
                due.append(files[imported])
    return Project(main, tuple(files.values()), tuple(sorted(packages)))


def imported_from(file: PythonFile, node: ast.ImportFrom, beside: Path, root: Path) -> Path | None:
    """The project's file that `from x import y` reads names from."""
    paths = _from(file, node, beside, root)
    return paths[-1] if paths else None


def _imports(file: PythonFile, beside: Path, root: Path) -> Iterator[Path | str]:
    """The files of the project and the names of packages that a file imports."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(alias.name.split("."), beside, root) or _foreign(alias.name)
        elif isinstance(node, ast.ImportFrom):
            paths = _from(file, node, beside, root)
            yield from paths
            folder = _folder(file, node, beside, root)
            for alias in node.names:
                inner = _module(folder, alias.name, root) if folder is not None else None
                if inner is not None:
                    yield inner
            if not paths and folder is None and not node.level and node.module:
                yield from _foreign(node.module)


def _from(file: PythonFile, node: ast.ImportFrom, beside: Path, root: Path) -> list[Path]:
    parts = node.module.split(".") if node.module else []
    if not node.level:
        return _absolute(parts, beside, root)
    base = _up(file.path.parent, node.level - 1)
    if not base.is_relative_to(root):
        return []
    own = [base / "__init__.py"] if (base / "__init__.py").is_file() and base != root else []
    return [*own, *_below(base, parts, root)]


def _folder(file: PythonFile, node: ast.ImportFrom, beside: Path, root: Path) -> Path | None:
    """The folder whose modules `from x import y` may name, where x is one."""
    parts = node.module.split(".") if node.module else []
    if node.level:
        bases = [_up(file.path.parent, node.level - 1)]
    elif not parts or parts[0] in sys.stdlib_module_names:
        return None
    else:
        bases = [beside, root]
    places = [base.joinpath(*parts) for base in bases if base.is_relative_to(root)]
    return next((place for place in places if place.is_dir()), None)


def _absolute(parts: list[str], beside: Path, root: Path) -> list[Path]:
    if parts[0] in sys.stdlib_module_names:
        return []
    return _below(beside, parts, root) or _below(root, parts, root)


def _below(base: Path, parts: list[str], root: Path) -> list[Path]:
    """The files that importing a dotted name runs."""
    modules: list[Path] = []
    for number in range(1, len(parts) + 1):
        module = _module(base.joinpath(*parts[: number - 1]), parts[number - 1], root)
        if module is not None:
            modules.append(module)
    return modules


def _module(folder: Path, name: str, root: Path) -> Path | None:
    for place in (folder / name / "__init__.py", folder / f"{name}.py"):
        if place.is_file() and place.resolve().is_relative_to(root):
            return place.resolve()
    return None


def _foreign(dotted: str) -> list[str]:
    name = dotted.split(".")[0]
    return [] if name in sys.stdlib_module_names else [name]


def _up(folder: Path, levels: int) -> Path:
    for _ in range(levels):
        folder = folder.parent
    return folder


def _beside(path: Path, folder: Path) -> str:
    ups = 0
    while not path.is_relative_to(folder):
        folder, ups = folder.parent, ups + 1
    return "../" * ups + path.relative_to(folder).as_posix()


_WITH_DOCS = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _named(tree: ast.Module) -> Iterator[str]:
    """The tree's nodes in order, each with what it holds.  What is empty is left out, since versions of
    Python differ in that."""
    due: list[Any] = [tree]
    while due:
        node = due.pop()
        if isinstance(node, str):
            yield node
            continue
        yield f"({type(node).__name__}"
        inner: list[Any] = []
        for field, value in ast.iter_fields(node):
            values = list(value) if isinstance(value, list) else [value]
            if field == "body" and isinstance(node, _WITH_DOCS) and _is_docstring(values):
                values = values[1:]
            present = [item for item in values if item is not None]
            if not present or field in ("type_comment", "kind", "ctx"):
                continue
            inner.append(field)
            # A gap in a list says something: `{**a}` has a key that is none.
            for item in values:
                inner.append(item if isinstance(item, ast.AST) else _constant(item))
        inner.append(")")
        due.extend(reversed(inner))


def _is_docstring(body: list[Any]) -> bool:
    first = body[0] if body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _constant(value: Any) -> str:
    # Decimal digits of a long number are refused by Python.
    return f"int {value:x}" if type(value) is int else f"{type(value).__name__} {value!r}"
