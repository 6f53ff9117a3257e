"""Runs Python code with its tests where it reaches nothing.  It is run as a script and imports nothing
of ours but `confinement`, which lies beside it.

The code runs in a thread of its own: what the outcome is proven by lies in the main thread, where frames and
objects do not lead from the code's.
"""

import _thread
import builtins
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

_CODE, _MODULE = "<answer>", "solution"


def main() -> None:
    """Reads what to run; replies with a line that says that it is confined, or why that cannot be, and with
    the outcome behind the secret that it was given: `+`, or `-` and the reason.

    From where the code has run, nothing is called that the code could have changed."""
    reply, write, leave = os.dup(1), os.write, os._exit
    given = json.loads(sys.stdin.buffer.read())
    secret: bytes = given["secret"].encode()
    confinement, testing = _beside("confinement"), _beside("testing")
    testing.shapes = _beside("shapes")
    refused = confinement.confine(given, reply)
    write(reply, f"{refused or ''}\n".encode())
    if refused is not None or given.get("probe"):
        leave(0)
    own, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType(_MODULE)
    outcome: list[str] = []
    done = _thread.allocate_lock()
    done.acquire()
    tried = confinement.watch(given["folder"], testing.where.__code__)
    _thread.start_new_thread(_attempt, (testing, given["code"], given["tests"], outcome, done.release))
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


def _attempt(testing: Any, code: str, tests: str, outcome: list[str], end: Callable[[], None]) -> None:
    try:
        _run(testing, code, tests)
        outcome.append("+")
    except testing.shapes.Refused as refused:
        outcome.append(f"-{refused}")
    except MemoryError:
        outcome.append("-takes more memory than it is given")
    except BaseException as fault:
        outcome.append(f"-cannot be run: {testing.told(fault)}")
    finally:
        end()


def _run(testing: Any, code: str, text: str) -> None:
    """Raises what `testing` refuses code with where it fails with its tests."""
    tests = testing.read(text)
    module = sys.modules[_MODULE] = sys.modules["__main__"]
    kept = _taken_note(list(testing.modules(tests)))
    kept += [
        (each.__name__, each, dict(vars(each))) for each in (testing.shapes.Namespace, tests.result) if each
    ]
    try:
        running = compile(code, _CODE, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise testing.shapes.Refused(f"is no Python: {testing.told(fault)}") from None
    came = testing.raised(lambda: exec(running, module.__dict__))
    if came is not None:
        raise testing.shapes.Refused(testing.said("raises", came, text))
    for step in (testing.require_unshadowed, testing.run):
        if (why := _changed(kept)) is not None:
            raise testing.shapes.Refused(why)
        step(tests, module.__dict__)
    if (why := _changed(kept)) is not None:
        raise testing.shapes.Refused(why)


def _taken_note(modules: list[str]) -> list[tuple[str, Any, dict[str, Any]]]:
    """What tests go by, as it is before the code runs: what is built in, and what of Python they use."""
    owners: list[tuple[str, Any]] = [("builtins", builtins)]
    for name in modules:
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


if __name__ == "__main__":
    main()
