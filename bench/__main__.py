"""The benchmarks: `python -m bench NAME...`, or all of them without a name."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

from bench.lib import harness, standalone
from bench.lib.report import grid, index, write
from synth.base.extras import DISTRIBUTION

# In the order in which they run.  Each is a module with `measure(Options) -> Report`, or a script.
NAMES = (
    "compile",
    "orchestration",
    "log",
    "memory",
    "rows",
    "vllm",
    "retrieval",
    "trainers",
    *standalone.SCRIPTS,
)
# Those that take long and are run by their names alone.
APART = ("soak", "kills", "damage")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join((*NAMES, *APART))}; by default all but {', '.join(APART)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--full", action="store_true", help="the largest sizes too, which take minutes")
    parser.add_argument("--gpu", action="store_true", help="the sizes that need one")
    parser.add_argument("--out", type=Path, help="folder of the results (bench/results)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in (*NAMES, *APART)]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join((*NAMES, *APART))}")
    out = arguments.out or (harness.BUILD / "results" if arguments.quick else RESULTS)
    size = "quick" if arguments.quick else "full" if arguments.full else "normal"
    failed = []
    for name in arguments.names or NAMES:
        options = harness.Options(
            harness.BUILD / name, quick=arguments.quick, full=arguments.full, gpu=arguments.gpu
        )
        try:
            run(name, options, size, out)
        except harness.Unavailable as reason:
            print(f"{name}: not here: {reason}\n", flush=True)
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return 130
        except Exception as error:
            failed.append(name)
            print(f"{name}: failed: {type(error).__name__}: {error}\n", file=sys.stderr, flush=True)
    index(out)
    return 1 if failed else 0


def run(name: str, options: harness.Options, size: str, out: Path) -> None:
    """Measures one benchmark, prints its tables and writes its results."""
    options.work.mkdir(parents=True, exist_ok=True)
    load, began = harness.load(), time.perf_counter()
    if name in standalone.SCRIPTS:
        report = standalone.measure(name, options)
    else:
        report = import_module(f"bench.suites.{name}").measure(options)
    facts = {
        "date": harness.today(),
        "size": size,
        "seconds": round(time.perf_counter() - began, 1),
        "load": load,
        "machine": harness.machine(),
        "versions": harness.versions((DISTRIBUTION, *report.packages)),
    }
    written = write(name, report, facts, out)
    print(f"{report.title}\n{report.headline}\n")
    for table in report.tables:
        print(f"{table.title}\n\n{grid(table)}\n")
    print(f"  {', '.join(path.name for path in written)} in {out}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
