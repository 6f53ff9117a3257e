"""The checks a recipe can ask for, each a pure function that gives a reason or None.

`table` lists them; every other module holds those about one thing.
"""

from synth.compiler.stdlib.checks.table import CHECKS, Check, group_of, prepare_checks, run_check

__all__ = ["CHECKS", "Check", "group_of", "prepare_checks", "run_check"]
