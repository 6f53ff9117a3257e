"""Runs Python code with its tests where it reaches nothing.  It is run as a script and imports nothing
of ours but `confinement`, which lies beside it.

The code runs in a thread of its own: what the outcome is proven by lies in the main thread, where frames and
objects do not lead from the code's.
"""

import _thread
import ast
import builtins
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

SAID = 300
_CODE, _TESTS, _MODULE = "<answer>", "<tests>", "solution"
_CODE, _TESTS, _MODULE = "<answer>", "<tests>", "solution"
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign)


def main() -> None:
    """Reads what to run; replies with a line that says that it is confined, or why that cannot be, and with
    the outcome behind the secret that it was given: `+`, or `-` and the reason.

    From where the code has run, nothing is called that the code could have changed."""
    reply, write, leave = os.dup(1), os.write, os._exit
    given = json.loads(sys.stdin.buffer.read())
    secret: bytes = given["secret"].encode()
    confinement = _beside("confinement")
    refused = confinement.confine(given, reply)
    write(reply, f"{refused or ''}\n".encode())
    if refused is not None or given.get("probe"):
        leave(0)
    own, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType(_MODULE)
    outcome: list[str] = []
    done = _thread.allocate_lock()
    done.acquire()
    tried = confinement.watch(given["folder"])
    _thread.start_new_thread(_attempt, (given["code"], given["tests"], outcome, done.release))
    done.acquire()
    for each in tried:
        write(reply, secret + b"-" + each.encode("utf-8", "replace"))
        leave(0)
    for each in outcome:
        write(reply, secret + each.encode("utf-8", "replace"))
    leave(0)
    assert own


def _beside(name: str) -> Any:
    """A module that lies beside this one and is in no table of modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _attempt(code: str, tests: str, outcome: list[str], end: Callable[[], None]) -> None:
    try:
        reason = run(code, tests)
        outcome.append("+" if reason is None else f"-{reason}")
    except MemoryError:
        outcome.append("-takes more memory than it is given")
    except BaseException as fault:
        outcome.append(f"-cannot be run: {told(fault)}")
    finally:
        end()


def run(code: str, tests: str) -> str | None:
    """Why code fails with its tests, or None."""
    try:
        tree = ast.parse(tests, _TESTS)
        checking = compile(tree, _TESTS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        return f"was not run: its tests are no Python: {told(fault)}"
    if not _checks_anything(tree):
        return "was not run: its tests check nothing, since they only define"
    tested = _tested(tree)
    module = sys.modules[_MODULE] = sys.modules["__main__"]
    kept = _taken_note(tree)
    try:
        running = compile(code, _CODE, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        return f"is no Python: {told(fault)}"
    steps: list[tuple[str, Callable[[], str | None]]] = [
        ("raises", lambda: _raised(tests, lambda: exec(running, module.__dict__))),
        ("", lambda: _changed(kept)),
        ("fails its tests:", lambda: _raised(tests, lambda: exec(checking, module.__dict__))),
        ("fails its tests:", lambda: _call_tests(tests, tested, module)),
        ("", lambda: _changed(kept)),
    ]
    for what, step in steps:
        reason = step()
        if reason is not None:
            return reason.replace("RAISED", what)
    return None


def _raised(tests: str, work: Callable[[], object]) -> str | None:
    try:
        work()
    except SystemExit:
        return "exits before its tests end"
    except MemoryError:
        return "takes more memory than it is given"
    except BaseException as fault:
        return f"RAISED {told(fault)}{_where(tests, fault)}"
    return None


def _where(tests: str, fault: BaseException) -> str:
    """The line of the tests, else of the code, that a fault came from."""
    lines: dict[str, int] = {}
    trace = fault.__traceback__
    while trace is not None:
        lines[trace.tb_frame.f_code.co_filename] = trace.tb_lineno
        trace = trace.tb_next
    if _TESTS in lines:
        line = tests.splitlines()[lines[_TESTS] - 1].strip()[:120].encode("utf-8", "replace").decode("utf-8")
        return f" at line {lines[_TESTS]} of the tests: {line}"
    return f" at line {lines[_CODE]}" if _CODE in lines else ""


def _checks_anything(tree: ast.Module) -> bool:
    return any(_tested(tree)) or any(
        not isinstance(each, _DEFINING)
        and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        and not _is_guard(each)
        for each in tree.body
    )


def _is_guard(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`"""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and ast.dump(node.test.left).find("__name__") >= 0
    )


def _tested(tree: ast.Module) -> tuple[list[str], list[str]]:
    """The functions and classes that a runner of tests would find and that the tests do not call."""
    called = {
        node.id
        for each in tree.body
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not _is_guard(each)
        for node in ast.walk(each)
        if isinstance(node, ast.Name)
    }
    functions = [
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test") and each.name not in called
    ]
    classes = [
        each.name
        for each in tree.body
        if isinstance(each, ast.ClassDef)
        and each.name not in called
        and any(isinstance(inner, ast.FunctionDef) and inner.name.startswith("test") for inner in each.body)
    ]
    return functions, classes


def _call_tests(tests: str, tested: tuple[list[str], list[str]], module: types.ModuleType) -> str | None:
    functions, classes = tested
    for name in functions:
        if (fault := _raised(tests, module.__dict__[name])) is not None:
            return fault
    for name in classes:
        kind = module.__dict__[name]
        for test in [each for each in vars(kind) if each.startswith("test")]:
            unit = hasattr(kind, "assertEqual")
            held = kind(test) if unit else kind()
            steps = [getattr(held, "setUp", None) if unit else getattr(held, "setup_method", None)]
            steps += [getattr(held, test), getattr(held, "tearDown", None) if unit else None]
            for step in steps:
                if step is not None and (fault := _raised(tests, step)) is not None:
                    return fault
    return None


def _taken_note(tree: ast.Module) -> list[tuple[str, Any, dict[str, Any]]]:
    """What tests go by, as it is before the code runs: what is built in, and what they import of Python."""
    owners: list[tuple[str, Any]] = [("builtins", builtins)]
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            if name.partition(".")[0] in sys.stdlib_module_names:
                try:
                    __import__(name)
                except Exception:
                    continue
                owners.append((name, sys.modules[name]))
    for name, owner in list(owners):
        owners += [
            (f"{name}.{each}", value)
            for each, value in vars(owner).items()
            if isinstance(value, type) and name != "builtins"
        ]
    return [
        (name, owner, {each: value for each, value in vars(owner).items() if callable(value)})
        for name, owner in owners
    ]


def _changed(kept: list[tuple[str, Any, dict[str, Any]]], vars: Callable[[Any], Any] = vars) -> str | None:
    for name, owner, before in kept:
        now = vars(owner)
        for each, value in before.items():
            if now.get(each) is not value:
                return f"changes `{name}.{each}`, which its tests go by"
    return None


def told(fault: BaseException) -> str:
    try:
        said = " ".join(str(fault).split())
    except BaseException:
        said = ""
    said = said[:SAID].encode("utf-8", "replace").decode("utf-8")
    return f"{type(fault).__name__}: {said}" if said else type(fault).__name__


if __name__ == "__main__":
    main()
