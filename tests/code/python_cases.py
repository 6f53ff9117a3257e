"""Code with its tests, and what each is refused with."""

from __future__ import annotations

ADD = "def f(a):\n    return a + 1\n"
TEST = "assert f(1) == 2"
_UNIT = "import unittest\nclass T(unittest.TestCase):\n  def test_f(self):\n    self.assertEqual(f(1), 2)"
_FAILS = "fails its tests: AssertionError at line 2 of the tests: assert f(1) == 2"
_FAILS_3 = _FAILS.replace("line 2", "line 3")
# What would pass, were frames to be had.
_CLIMB = """while seen is not None:
  if "outcome" in seen.f_locals:
    seen.f_locals["outcome"].append("+")
    seen.f_locals["end"]()
  if "raised" in seen.f_globals: seen.f_globals["raised"] = lambda *_: None
  seen = seen.f_back
"""
# Code, its tests, and what it is refused with; None where it passes.
CASES: list[tuple[str, str, str | None]] = [
    (ADD, TEST, None),
    (f"Here:\n\n```python\n{ADD}```\n", TEST, None),
    (ADD, _UNIT + "\nif __name__ == '__main__':\n  unittest.main()", None),
    (ADD, "from solution import f\ndef test_f():\n  assert f(1) == 2", None),
    (ADD, "class TestF:\n  def test_f(self):\n    assert f(1) == 2", None),
    (
        "from collections import namedtuple\nimport dataclasses, enum, traceback\nP = namedtuple('P', 'a')\n"
        "@dataclasses.dataclass\nclass D:\n  a: int\ndef f(a):\n  try: 1 / 0\n"
        "  except Exception: traceback.format_exc()\n"
        "  return P(D(2)).a.a",
        TEST,
        None,
    ),
    (
        "import asyncio, threading, sqlite3, zoneinfo\n"
        "async def g(): return 2\ndef f(a): return asyncio.run(g())",
        TEST,
        None,
    ),
    (
        "import tempfile, pathlib\ndef f(a):\n  with tempfile.TemporaryDirectory() as d:\n"
        "    pathlib.Path(d, 'x').write_text('2')\n    return int(pathlib.Path(d, 'x').read_text())",
        TEST,
        None,
    ),
    (
        "def f(a): return a",
        f"f(0)\n{TEST}",
        "fails its tests: AssertionError at line 2 of the tests: assert f(1) == 2",
    ),
    (
        "def f(a): return a",
        _UNIT,
        "fails its tests: AssertionError: 1 != 2 at line 4 of the tests: self.assertEqual(f(1), 2)",
    ),
    (
        "def f(a): return a",
        "def test_f():\n  assert f(1) == 2",
        "fails its tests: AssertionError at line 2 of the tests: assert f(1) == 2",
    ),
    ("x = 1\nraise ValueError('no')", TEST, "raises ValueError: no at line 2"),
    ("def f(:", TEST, "is no Python: SyntaxError: invalid syntax (<answer>, line 1)"),
    (
        ADD,
        "def check(f):\n  assert f(1) == 2",
        "was not run: its tests check nothing, since they only define",
    ),
    (
        ADD,
        "assert f(",
        "was not run: its tests are no Python: SyntaxError: '(' was never closed (<tests>, line 1)",
    ),
    ("import numpy", TEST, "raises ModuleNotFoundError: No module named 'numpy' at line 1"),
    # It begins processes.
    ("import os\nos.fork()", TEST, "begins a process"),
    ("import os\ntry: os.fork()\nexcept Exception: pass\n" + ADD, TEST, "begins a process"),
    ("import subprocess\nsubprocess.run(['true'])", TEST, "begins a process"),
    # It dials out.
    ("import socket\nsocket.create_connection(('127.0.0.1', 1))", TEST, "uses the network"),
    ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')", TEST, "uses the network"),
    # It reaches for files.
    ("open('/tmp/made-by-an-answer', 'w')", TEST, "writes outside its folder, to `/tmp/made-by-an-answer`"),
    (
        "open('/etc/passwd')",
        TEST,
        "raises PermissionError: [Errno 13] Permission denied: '/etc/passwd' at line 1",
    ),
    (
        "import os\nos.listdir('/')",
        TEST,
        "raises PermissionError: [Errno 13] Permission denied: '/' at line 2",
    ),
    ("import os\nos.chmod('/tmp', 0o777)", TEST, "changes what a file says of itself"),
    (
        "n = 0\nwhile True:\n  open(str(n), 'w').write('x' * 1_000_000)\n  n += 1",
        TEST,
        "writes more than its folder may hold",
    ),
    # It takes too much.
    ("x = 'a' * (1 << 33)", TEST, "takes more memory than it is given"),
    (
        "def f(a): return f(a)",
        TEST,
        "fails its tests: RecursionError: maximum recursion depth exceeded at line 1 of the "
        "tests: assert f(1) == 2",
    ),
    ("while True: print('x' * 1000)", TEST, "prints or writes more than 1 MiB"),
    (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        TEST,
        "raises RuntimeError: can't start new thread at line 2",
    ),
    # It ends early, or looks as if it had ended well.
    ("import sys\nsys.exit(0)", TEST, "exits before its tests end"),
    ("def f(a): raise SystemExit", TEST, "exits before its tests end"),
    ("import os\ndef f(a): os._exit(0)", TEST, "ends its process with status 0 before its tests end"),
    (
        "import os\nfor n in range(64):\n  try: os.write(n, b'+' * 64)\n  except OSError: pass\nos._exit(0)",
        TEST,
        "ends its process with status 0 before its tests end",
    ),
    # It changes what tests it, or looks into it.
    (
        "import builtins\nbuiltins.abs = lambda a: 2\ndef f(a): return 1",
        "assert abs(f(1)) == 2",
        "changes `builtins.abs`, which its tests go by",
    ),
    (
        "import unittest\nunittest.TestCase.assertEqual = lambda *_: None\ndef f(a): return 0",
        _UNIT,
        "changes `unittest.TestCase.assertEqual`, which its tests go by",
    ),
    ("import sys\ndef f(a): return sys._getframe(2).f_locals", TEST, "looks into what tests it"),
    (f"import inspect\nseen = inspect.currentframe()\n{_CLIMB}", TEST, "looks into what tests it"),
    (
        f"exec(compile('import sys\\nseen = sys._getframe()', 'lib.py', 'exec'))\n{_CLIMB}",
        TEST,
        "looks into what tests it",
    ),
    (
        f"import traceback\nseen = next(traceback.walk_stack(None))[0]\n{_CLIMB}",
        TEST,
        "looks into what tests it",
    ),
    (
        "import traceback, sys\nclass S(traceback.StackSummary):\n  @classmethod\n"
        "  def _extract_from_extended_frame_gen(kind, frames, **_): kind.seen = list(frames); return kind()\n"
        f"try: 1 / 0\nexcept Exception as e: S.extract(traceback.walk_tb(e.__traceback__))\n{ADD}",
        TEST,
        "looks into what tests it",
    ),
    (
        "def walk(kind):\n  for each in type.__subclasses__(kind):\n    yield each\n"
        "    yield from walk(each)\n"
        "def f(a):\n  for kind in set(walk(object)):\n    for each in vars(kind).values():\n"
        "      if 'raised' in getattr(each, '__globals__', ()): return 2\n  return 1",
        _UNIT,
        "fails its tests: AssertionError: 1 != 2 at line 4 of the tests: self.assertEqual(f(1), 2)",
    ),
    (
        "import unittest\ndef f(a):\n  for each in unittest.TestResult.__subclasses__():\n"
        "    each.addFailure = lambda self, test, err: self.addSuccess(test)\n  return 0",
        _UNIT,
        "changes `unittest.TextTestResult.addFailure`, which its tests go by",
    ),
    ("import _testcapi", TEST, "reaches below Python"),
    # What Python's own modules ask of frames is no looking.
    (
        "import logging, typing, enum, pickle\nN = typing.NamedTuple('N', [('a', int)])\n"
        "E = enum.Enum('E', 'x')\ndef f(a):\n  try: 1 / 0\n"
        "  except Exception: logging.getLogger().exception('x')\n"
        "  return pickle.loads(pickle.dumps((E.x, N(2))))[1].a",
        TEST,
        None,
    ),
    # It calls something as tests call what is built in.
    (
        "def all(a): return True\ndef f(a): return 1",
        "assert all(f(n) == n + 1 for n in range(3))",
        "defines `all`, which is built in and which its tests use: they get the code's by "
        "`from solution import all`",
    ),
    ("from math import *\ndef f(a): return a + 1", "from solution import *\nassert f(1) == pow(2, 1)", None),
    ("def max(a): return a + 1", "from solution import max\nassert max(1) == 2", None),
    ("n = 0\ndef f():\n  global n\n  n += 1", "f()\nf()\nassert n == 2", None),
    # Tests of every kind are run, or it is said that they were not.
    ("def f(a): return a", "async def test_f():\n  assert f(1) == 2", _FAILS),
    (
        "def f(a): return a",
        "class Any:\n  def test_f(self):\n    assert f(1) == 2\nclass TestF(Any): pass",
        _FAILS_3,
    ),
    ("def f(a): return a", "def test_f():\n  assert f(1) == 2\nsuite = [test_f]", _FAILS),
    (
        "def f(a): return a",
        _UNIT.replace("TestCase", "IsolatedAsyncioTestCase").replace("def test", "async def test"),
        "fails its tests: AssertionError: 1 != 2 at line 4 of the tests: self.assertEqual(f(1), 2)",
    ),
    (
        ADD,
        _UNIT.replace("def test", "async def test"),
        "was not run: `T.test_f` only makes what is to be run",
    ),
    (
        ADD,
        "def test_f():\n  yield\n  assert f(1) == 3",
        "was not run: `test_f` only makes what is to be run",
    ),
    (ADD, "test_f = lambda: f(1) == 3", "fails its tests: `test_f` gives False"),
    (
        ADD,
        "def test_f(tmp_path): assert f(1) == 2",
        "was not run: `test_f` takes arguments, and there are no fixtures",
    ),
    (
        ADD,
        "import unittest\nn = []\ndef setUpModule(): n.append(2)\nclass T(unittest.TestCase):\n"
        "  @classmethod\n  def setUpClass(cls): cls.n = n[0]\n"
        "  def test_f(self): self.assertEqual(f(1), self.n)",
        None,
    ),
    (
        ADD,
        _UNIT.replace("  def test", "  @unittest.skip('later')\n  def test"),
        "was not run: its tests check nothing, since they only define",
    ),
    (
        "import unittest\ndef f(a): raise unittest.SkipTest('no')",
        _UNIT,
        "fails its tests: SkipTest: no",
    ),
    ("import gc\ndef f(a): return gc.get_objects()", TEST, "looks into what tests it"),
    ("import __main__\n__main__._changed = lambda *_: None\n" + ADD, TEST, None),
    ("import ctypes\nctypes.CDLL(None)", TEST, "reaches below Python"),
    ("import os\nos.kill(os.getppid(), 9)", TEST, "sends a signal"),
]
