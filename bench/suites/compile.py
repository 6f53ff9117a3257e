"""How long compiling takes: a 5,000-line recipe against Lark's bare parse of it, and plans of ten
to ten million samples."""

from __future__ import annotations

import resource

from bench.lib.harness import Options, median_seconds
from bench.lib.report import Bars, Report, Table
from synth.compiler.compile import compile_text
from synth.dsl.parse import parse
from synth.dsl.read import read_text
from synth.dsl.recovery.prepare import prepare
from synth.dsl.tables import tables

LINES = 5_000
SAMPLES = (10, 10_000, 10_000_000)

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


def measure(options: Options) -> Report:
    text = long_recipe(options.pick(300, LINES))
    lines = text.count("\n")
    source, _ = read_text(text, "long.recipe")
    parser = tables()
    # What Lark alone takes for the same text: its tables, its lexer, its tree, nothing of ours.
    prepared = prepare(source)
    bare = median_seconds(lambda: parser.parse(prepared.text, start="start"))
    parsed = median_seconds(lambda: parse(source))
    compiled = median_seconds(lambda: compile_text(text))
    plans = []
    for times in SAMPLES:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        recipe = _GRID.format(times=times)
        took = median_seconds(lambda recipe=recipe: compile_text(recipe))  # type: ignore[misc]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        plans.append((times, took * 1e3, grown))
    return Report(
        title="Compiling: a long recipe, and plans of any size",
        headline=(
            f"{lines:,} lines compile in {compiled:.2f} s, {compiled / bare:.1f} x Lark's bare parse; "
            f"a plan of {plans[-1][0]:,} samples takes {plans[-1][1]:.1f} ms, one of {plans[0][0]} "
            f"{plans[0][1]:.1f} ms."
        ),
        tables=[
            Table(
                f"A recipe of {lines:,} lines",
                ("", "seconds", "over the bare parse"),
                [
                    ("Lark's bare parse", bare, 1.0),
                    ("parse", parsed, parsed / bare),
                    ("compile", compiled, compiled / bare),
                ],
            ),
            Table("Plans", ("samples", "ms", "more memory, KiB"), [*plans]),
        ],
        notes=["Medians of five runs after one that does not count."],
        plots=[
            Bars(
                f"A recipe of {lines:,} lines",
                "seconds",
                ["Lark's bare parse", "parse", "compile"],
                {"seconds": [bare, parsed, compiled]},
            ),
            Bars(
                "Compiling a plan of so many samples",
                "ms",
                [f"{times:,}" for times in SAMPLES],
                {"ms": [took for _, took, _ in plans]},
            ),
        ],
        figures={"lines": lines, "bare_parse_s": bare, "parse_s": parsed, "compile_s": compiled},
        packages=("lark", "pydantic"),
    )
