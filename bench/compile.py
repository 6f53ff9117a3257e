"""How long compiling takes: a 5,000-line recipe against Lark's bare parse of it, and plans of ten
to ten million samples.

    python -m bench.compile [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compiler.compile import compile_text
from dsl.parse import parse
from dsl.prepare import prepare
from dsl.read import read_text
from dsl.tables import tables

LINES = 5_000

_HEAD = """edition 1

## A recipe as long as they get.
recipe long { seed = 1 }

model author: model<chat> from gemini("gemini-2.5-flash") { temperature = 0.9 }
"""

_CONVERSATION = """
set topics_{n}: topic {{
  first {{ about = "libraries, museums and lost things" }}
  second {{ about = "clinics and pharmacies" }}
  third {{ about = "workshops, kitchens and farms" }}
}}

conversation talk_{n} 30 over topic in topics_{n} times 10 {{
  turn ask: user by author {{
    prompt = \"\"\"
      Write one question about {{{{ topic.about }}}}, the {{{{ nth }}}}th of its kind.
      Only the question.
      \"\"\"
    check {{
      length(8..200)
      sentences(1..2)
    }}
    retry = 3
  }}

  turn answer: model by author {{
    prompt = "Answer shortly: {{{{ ask }}}}"
    check {{ length(1..400) }}
    retry = 2
  }}

  train_on = [answer]
}}

export rows_{n}: messages from talk_{n} to "out/rows_{n}"
"""

_GRID = """edition 1
recipe grid {{ seed = 1 }}
model author: model<chat> from gemini("x")
personas people {{
  calm 50% {{ voice = "calm" }}
  warm 50% {{ voice = "warm" }}
}}
conversation talk times {times} {{
  draw person from people
  turn ask: user by author {{ prompt = "Ask, {{{{ person.voice }}}}." }}
  turn answer: model by author {{ prompt = "{{{{ ask }}}}" }}
}}
export rows: messages from talk to "out/rows"
"""


def long_recipe(lines: int) -> str:
    """A valid recipe of at least so many lines."""
    parts, number = [_HEAD], 0
    while sum(part.count("\n") for part in parts) < lines:
        parts.append(_CONVERSATION.format(n=number))
        number += 1
    return "".join(parts)


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median of some runs, after one that does not count."""
    work()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def measure() -> dict[str, Any]:
    text = long_recipe(LINES)
    source, _ = read_text(text, "long.recipe")
    parser = tables()
    # What Lark alone takes for the same text: its tables, its lexer, its tree, nothing of ours.
    prepared = prepare(source)
    bare = seconds(lambda: parser.parse(prepared.text, start="start"))
    parsed = seconds(lambda: parse(source))
    compiled = seconds(lambda: compile_text(text))
    plans = {}
    for times in (10, 10_000, 10_000_000):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        recipe = _GRID.format(times=times)
        took = seconds(lambda recipe=recipe: compile_text(recipe))  # type: ignore[misc]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        plans[f"{times:,}"] = {"ms": round(took * 1e3, 2), "more_memory_kib": grown}
    return {
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            "lark": version("lark"),
            "pydantic": version("pydantic"),
        },
        "recipe_lines": text.count("\n"),
        "lark_bare_parse_s": round(bare, 4),
        "parse_s": round(parsed, 4),
        "compile_s": round(compiled, 4),
        "parse_over_bare": round(parsed / bare, 2),
        "compile_over_bare": round(compiled / bare, 2),
        "plans_of_samples": plans,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", type=Path, help="write the figures here too")
    options = arguments.parse_args()
    figures = measure()
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
