"""The classes by which tests are run.  Code that finds a class finds what its functions go by, so they are a
module of their own, loaded by `code`, which leads to nothing of the tester.
"""

import builtins
from typing import Any

_BUILT_IN = frozenset(vars(builtins))


class Refused(Exception):
    """Why code is refused: a clause."""


class Namespace(dict[str, Any]):
    """What tests define, and behind it what the code defines.  What is called as something that is built in
    is that, whatever the code calls so."""

    def __init__(self, solution: dict[str, Any]) -> None:
        super().__init__(__name__="tests", __builtins__=builtins)
        self._solution = solution

    def __missing__(self, name: str) -> Any:
        if name in _BUILT_IN or name.startswith("__"):
            raise KeyError(name)
        return self._solution[name]


def begin_loop(test: Any) -> None:
    """As unittest begins it, save for its debugging, which looks at frames."""
    import asyncio

    given = {"loop_factory": test.loop_factory} if hasattr(test, "loop_factory") else {}
    test._asyncioRunner = asyncio.Runner(**given)


def result_class(unittest: Any) -> Any:
    class Result(unittest.TestResult):  # type: ignore[misc]
        """Keeps the first fault, and how many tests came to their end."""

        def __init__(self) -> None:
            super().__init__()
            self.fault: BaseException | None = None
            self.why: str | None = None
            self.ended = self.left = 0

        def addError(self, test: Any, err: Any) -> None:
            self.fault = self.fault or err[1]
            self.stop()

        addFailure = addError

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                self.addError(test, err)

        def addSuccess(self, test: Any) -> None:
            self.ended += 1

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            self.ended += 1

        def addUnexpectedSuccess(self, test: Any) -> None:
            self.why = self.why or f"fails its tests: `{test.id()}` holds, and is expected to fail"

        def addSkip(self, test: Any, reason: str) -> None:
            # Tests may leave out some of them; code may not.
            method = getattr(test, getattr(test, "_testMethodName", ""), None)
            if getattr(type(test), "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False):
                self.left += 1
            else:
                self.why = self.why or f"fails its tests: SkipTest: {str(reason)[:300]}"

    return Result
