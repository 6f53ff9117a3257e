"""Whether a script may start processes that begin by running it again.

A spawned process imports the main module of the one that started it.  A script that starts its work
outside `if __name__ == "__main__":` would start all of it once more there.
"""

from __future__ import annotations

import ast
import multiprocessing
import sys
from pathlib import Path
from types import FrameType

from synth.base.errors import EngineError


def require_guard(what: str) -> None:
    """Raises EngineError where the script that is running has no such guard around what it does now;
    `what` it needs it for begins the sentence.

    To be called in the thread of the script, which is where its own line can be seen.
    """
    # Private, and what the standard library itself asks before it starts a process.
    inside = getattr(multiprocessing.current_process(), "_inheriting", False)
    script = _script()
    if inside or (script is not None and not _is_guarded(*script)):
        name = Path(script[0]).name if script else "the script"
        raise EngineError(
            f"{what} runs in a process of its own, which imports {name} again: put what {name} does "
            'below `if __name__ == "__main__":`'
        )


def _script() -> tuple[str, int] | None:
    """The file of the main module and the line that it is at, where a new process would run it."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    # A package's own `__main__` is not imported again, and neither is what has no file.
    if file is None or (spec is not None and spec.name.endswith("__main__")):
        return None
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals is vars(main) and frame.f_code.co_name == "<module>":
            return file, frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(file: str, line: int) -> bool:
    """Whether a line is inside a condition on `__name__`; where that cannot be told, it is."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.If)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
        and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
        for node in tree.body
    )
