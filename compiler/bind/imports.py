"""`use name from "path"`: libraries and Python files, read once, and never from outside the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from synth.base.diagnostics.diagnostic import Diagnostics, Label
from synth.base.diagnostics.source import Source, Span
from synth.base.errors import ConfigError
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.functions.files import BadPython, Project, gather
from synth.compiler.bind.functions.module import PYTHON, PythonModule, report_python
from synth.dsl.parse import parse
from synth.dsl.read import read
from synth.dsl.syntax import Syntax

PROJECT_FILE = "synth.toml"

BindLibrary = Callable[[Syntax, "Importer"], Scope]


def project_root(folder: Path) -> Path:
    """The folder that paths of a recipe in `folder` may not leave: the nearest with a synth.toml
    at or above it, else the folder itself."""
    folder = folder.resolve()
    return next(
        (ancestor for ancestor in (folder, *folder.parents) if (ancestor / PROJECT_FILE).is_file()), folder
    )


class Importer:
    """The libraries of one compilation.  `root` is the folder that paths may not leave."""

    def __init__(self, main: Source, diagnostics: Diagnostics, bind_library: BindLibrary) -> None:
        self.diagnostics = diagnostics
        self._bind = bind_library
        self._done: dict[Path, Scope] = {}
        self._projects: dict[Path, Project | None] = {}
        # The Python files that are used, each under each of its names.
        self.modules: list[PythonModule] = []
        self._open: list[tuple[Path, Span]] = []
        self._main = main.path.resolve() if main.path is not None else None
        self.root = project_root(self._main.parent if self._main is not None else Path.cwd())

    def load(self, written: str, place: Span, scope: Scope) -> Scope | None:
        """The names of the library at a path, relative to the file that names it."""
        path = self._locate(written, place, scope)
        if path is None:
            return None
        if path in self._done:
            return self._done[path]
        for at, (open_path, _) in enumerate(self._open):
            if open_path == path:
                self._cycle(written, place, at, scope)
                return None
        if path == self._main:
            self._cycle(written, place, 0, scope)
            return None
        return self._read(path, written, place, scope)

    def module(self, name: str, written: str, place: Span, scope: Scope) -> PythonModule | None:
        """The Python file at a path, under the name that it is given."""
        path = self._locate(written, place, scope)
        if path is None or not self._is_there(path, written, place, scope):
            return None
        if path not in self._projects:
            try:
                self._projects[path] = gather(path, self.root)
            except BadPython as fault:
                self._projects[path] = None
                report_python(fault, place, "used here", scope)
        project = self._projects[path]
        if project is None:
            return None
        self.modules.append(PythonModule(name, project, self.root))
        return self.modules[-1]

    def _locate(self, written: str, place: Span, scope: Scope) -> Path | None:
        """Where a path of `use` leads, which is inside the project."""
        base = place.source.path
        what = "Python file" if written.endswith(PYTHON) else "library"
        if base is None:
            scope.report("E106", f"a recipe that is not in a file can use no {what}", place)
            return None
        if "\x00" in written:
            scope.report("E106", "a path holds no NUL character", place)
            return None
        path = (base.resolve().parent / written).resolve()
        if not path.is_relative_to(self.root):
            live = "libraries live" if what == "library" else "what a recipe uses lies"
            scope.report(
                "E106",
                f"`{written}` lies outside the project",
                place,
                hint=f"{live} below `{self.root.name}/`, where the recipe or its {PROJECT_FILE} is",
            )
            return None
        return path

    def _is_there(self, path: Path, written: str, place: Span, scope: Scope) -> bool:
        if path.is_file():
            return True
        suffix = PYTHON if written.endswith(PYTHON) else ".recipe"
        nearby = sorted(
            sibling.relative_to(self.root).as_posix() for sibling in path.parent.glob(f"*{suffix}")
        )
        guess = suggest(path.relative_to(self.root).as_posix(), nearby)
        scope.report(
            "E106",
            f"there is no file `{written}`",
            place,
            hint=f"there is {some_of([guess] if guess else nearby)}"
            if nearby
            else f"paths are relative to `{place.source.name}`",
        )
        return False

    def _read(self, path: Path, written: str, place: Span, scope: Scope) -> Scope | None:
        if not self._is_there(path, written, place, scope):
            return None
        try:
            source, faults = read(path, name=path.relative_to(self.root).as_posix())
        except ConfigError as error:
            scope.report("E106", str(error), place)
            return None
        self.diagnostics.extend(faults)
        syntax, parse_faults = parse(source)
        self.diagnostics.extend(parse_faults)
        self._open.append((path, place))
        try:
            self._done[path] = self._bind(syntax, self)
        finally:
            self._open.pop()
        return self._done[path]

    def _cycle(self, written: str, place: Span, at: int, scope: Scope) -> None:
        earlier = tuple(Label(span, "used here") for _, span in self._open[at : at + 1])
        scope.report(
            "E105",
            f"`{written}` uses itself, by way of the files that it uses",
            place,
            secondary=earlier,
            hint="move what both need into a library of its own",
        )
