"""Finds and runs the tests of Python code, in a namespace of their own.  It is loaded by `code`, which lies
beside it, and imports nothing of ours.

Whatever looks like a test is run to its end, or the code is refused with what was not run.
"""

import ast
import builtins
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

SAID = 300
CODE, TESTS = "<answer>", "<tests>"
NOTHING = "was not run: its tests check nothing, since they only define"
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign)
_BUILT_IN = frozenset(vars(builtins))
_STANDARD = sys.stdlib_module_names
# `shapes`, which lies beside: classes lead to what their functions go by, so none is here.
shapes: Any = None


def read(text: str) -> Any:
    """The tests of one code, with what of Python runs them, taken before the code runs.  Raises Refused
    where they are no Python, or check nothing."""
    try:
        tree = ast.parse(text, TESTS)
        compiled = compile(tree, TESTS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise shapes.Refused(f"was not run: its tests are no Python: {told(fault)}") from None
    nodes = list(ast.walk(tree))
    tests = types.SimpleNamespace(text=text, tree=tree, compiled=compiled, nodes=nodes)
    tests.statements = any(map(_is_statement, tree.body))
    if not tests.statements and not any(map(_may_be_test, nodes)):
        raise shapes.Refused(NOTHING)
    tests.unittest = tests.result = tests.asynchronous = None
    if "unittest" in text:
        import unittest

        tests.unittest, tests.result = unittest, shapes.result_class(unittest)
        if "IsolatedAsyncio" in text:
            unittest.IsolatedAsyncioTestCase._setupAsyncioRunner = shapes.begin_loop  # type: ignore[attr-defined]
    if any(isinstance(node, ast.AsyncFunctionDef) for node in nodes):
        import asyncio

        tests.asynchronous = asyncio.run
    return tests


def modules(tests: Any) -> Iterator[str]:
    """The modules of Python that tests, and what runs them, go by."""
    for node in tests.nodes:
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        yield from (name for name in names if name.partition(".")[0] in _STANDARD)
    if tests.unittest is not None:
        yield from (f"unittest.{name}" for name in ("case", "loader", "result", "suite"))
    if tests.asynchronous is not None:
        yield from ("asyncio", "asyncio.runners")


def require_unshadowed(tests: Any, solution: dict[str, Any]) -> None:
    """Raises Refused where code defines what tests use as built in."""
    stored: set[str] = set()
    loaded: set[str] = set()
    for node in tests.nodes:
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else stored).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            stored.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            stored.update(each.asname or each.name for each in node.names)
    for name in sorted((loaded - stored) & _BUILT_IN):
        value = solution.get(name)
        if name.startswith("__") or name not in solution or value is vars(builtins)[name]:
            continue
        if str(getattr(value, "__module__", "")).partition(".")[0] not in _STANDARD:
            raise shapes.Refused(
                f"defines `{name}`, which is built in and which its tests use: they get the code's by "
                f"`from solution import {name}`"
            )


def run(tests: Any, solution: dict[str, Any]) -> None:
    """Raises Refused where not all of them run and hold."""
    given = shapes.Namespace(solution)
    _hold(tests, lambda: exec(tests.compiled, given))
    count = int(tests.statements)
    imported = {
        each.asname or each.name
        for node in tests.nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for each in node.names
    }
    own = {name: value for name, value in given.items() if name not in imported and name[:2] != "__"}
    if "setUpModule" in own or "tearDownModule" in own:
        sys.modules["tests"] = types.ModuleType("tests")
        vars(sys.modules["tests"]).update(own)
    named = {node.id for node in tests.nodes if isinstance(node, ast.Name)}
    called = _called(tests)
    _prepare(tests, own.get("setup_module"))
    for name, value in own.items():
        if not name.startswith("test") or isinstance(value, type) or not callable(value):
            continue
        # What other tests call with arguments is no test itself.
        if name in called or (_lacks_arguments(value) and name in named):
            continue
        _prepare(tests, own.get("setup_function"), value)
        _call(tests, name, value)
        _prepare(tests, own.get("teardown_function"), value)
        count += 1
    kinds = {name: value for name, value in own.items() if isinstance(value, type)}
    for name, kind in kinds.items():
        if tests.unittest is not None and issubclass(kind, tests.unittest.TestCase):
            count += _run_unit(tests, name, kind)
        elif name.startswith("Test") or not any(kind in each.__mro__[1:] for each in kinds.values()):
            count += _run_class(tests, name, kind)
    _prepare(tests, own.get("teardown_module"))
    if not count:
        raise shapes.Refused(NOTHING)


def _called(tests: Any) -> set[str]:
    """What statements of the tests call."""
    return {
        node.func.id
        for each in tests.tree.body
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not _is_guard(each)
        for node in ast.walk(each)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _run_unit(tests: Any, name: str, kind: Any) -> int:
    """A class of unittest, as its own runner runs it."""
    loader = tests.unittest.TestLoader()
    names = loader.getTestCaseNames(kind)
    isolated = hasattr(kind, "asyncSetUp")
    for test in names:
        function = getattr(getattr(kind, test), "__func__", getattr(kind, test))
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & 0x220 or (flags & 0x80 and not isolated):
            raise shapes.Refused(f"was not run: `{name}.{test}` only makes what is to be run")
    result = tests.result()
    _hold(tests, lambda: loader.loadTestsFromTestCase(kind).run(result))
    if result.fault is not None:
        raise _refusal(tests, result.fault)
    if result.why is not None:
        raise shapes.Refused(result.why)
    if result.ended + result.left != len(names):
        raise shapes.Refused(f"was not run: tests of `{name}` did not come to their end")
    return int(result.ended)


def _run_class(tests: Any, name: str, kind: Any) -> int:
    """A class as pytest runs it."""
    names = dict.fromkeys(key for base in reversed(kind.__mro__) for key in vars(base))
    methods = [each for each in names if each.startswith("test") and callable(getattr(kind, each))]
    if methods:
        _prepare(tests, getattr(kind, "setup_class", None), kind)
    for each in methods:
        held: list[Any] = []
        _hold(tests, _into(held, kind))
        method = getattr(held[0], each)
        _prepare(tests, getattr(held[0], "setup_method", None), method)
        _call(tests, f"{name}.{each}", method)
        _prepare(tests, getattr(held[0], "teardown_method", None), method)
    if methods:
        _prepare(tests, getattr(kind, "teardown_class", None), kind)
    return len(methods)


def _prepare(tests: Any, function: Any, *given: Any) -> None:
    """What goes before or after a test; it may take what it is for, or nothing."""
    if function is not None:
        _hold(tests, lambda: function(*given) if _lacks_arguments(function) else function())


def _call(tests: Any, name: str, function: Any) -> None:
    if _lacks_arguments(function):
        raise shapes.Refused(f"was not run: `{name}` takes arguments, and there are no fixtures")
    came: list[Any] = []
    _hold(tests, lambda: came.append(function()))
    if type(came[0]) is types.CoroutineType and tests.asynchronous is not None:
        waited = came.pop()

        async def wait() -> None:
            came.append(await waited)

        _hold(tests, lambda: tests.asynchronous(wait()))
    if not came or type(came[0]) in (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType):
        raise shapes.Refused(f"was not run: `{name}` only makes what is to be run")
    if came[0] is False:
        raise shapes.Refused(f"fails its tests: `{name}` gives False")


def _hold(tests: Any, work: Callable[[], object]) -> None:
    if (fault := raised(work)) is not None:
        raise _refusal(tests, fault)


def _refusal(tests: Any, fault: BaseException) -> Any:
    return shapes.Refused(said("fails its tests:", fault, tests.text))


def _into(held: list[Any], make: Callable[[], Any]) -> Callable[[], None]:
    return lambda: held.append(make())


def _is_statement(node: ast.stmt) -> bool:
    """Whether something runs where tests are read, and does more than define."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return not isinstance(node, _DEFINING) and not constant and not _is_guard(node)


def _may_be_test(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name.startswith("test")
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id.startswith("test")


def _is_guard(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`"""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and ast.dump(node.test.left).find("__name__") >= 0
    )


def _lacks_arguments(function: Any) -> bool:
    """Whether a function needs arguments besides the object that it is bound to."""
    bound = isinstance(function, types.MethodType)
    plain = function.__func__ if bound else function
    if not isinstance(plain, types.FunctionType):
        return False
    needed = plain.__code__.co_argcount - len(plain.__defaults__ or ()) - bound
    return needed > 0 or plain.__code__.co_kwonlyargcount > len(plain.__kwdefaults__ or ())


def raised(work: Callable[[], object]) -> BaseException | None:
    try:
        work()
    except shapes.Refused:
        raise
    except BaseException as fault:
        return fault
    return None


def said(what: str, fault: BaseException, tests: str) -> str:
    """What came of something that raised a fault, as a clause."""
    if isinstance(fault, SystemExit):
        return "exits before its tests end"
    if isinstance(fault, MemoryError):
        return "takes more memory than it is given"
    return f"{what} {told(fault)}{where(tests, fault)}"


def where(tests: str, fault: BaseException) -> str:
    """The line of the tests, else of the code, that a fault came from."""
    lines: dict[str, int] = {}
    trace = fault.__traceback__
    while type(trace) is types.TracebackType:
        lines[trace.tb_frame.f_code.co_filename] = trace.tb_lineno
        trace = trace.tb_next
    if TESTS in lines:
        line = tests.splitlines()[lines[TESTS] - 1].strip()[:120].encode("utf-8", "replace").decode("utf-8")
        return f" at line {lines[TESTS]} of the tests: {line}"
    return f" at line {lines[CODE]}" if CODE in lines else ""


def told(fault: BaseException) -> str:
    try:
        words = " ".join(str(fault).split())
    except BaseException:
        words = ""
    words = words[:SAID].encode("utf-8", "replace").decode("utf-8")
    return f"{type(fault).__name__}: {words}" if words else type(fault).__name__
