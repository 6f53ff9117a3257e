"""Synthetic training data from recipes: compile, run, materialize, evaluate.

    import synth

    if __name__ == "__main__":
        plan = synth.compile("recipes/quickstart.recipe", conversations=24)
        synth.run(plan, log="synth.duckdb", models={"base": synth.Pocket()})
        for dataset in synth.materialize(plan, log="synth.duckdb", out="."):
            print(dataset.folder, len(dataset))

Everything works in a notebook as well.  What fails raises a `SynthError`, which is one sentence; a
recipe's faults are a `RecipeError`, whose text shows them all.

Everything is imported when it is used, so that the command line starts at once.
"""

from __future__ import annotations

# Not from `typing`, which takes a while: until the command line has begun, a Ctrl-C ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from synth.api import LogWarning, RecipeWarning, compile, evaluate, materialize, replay, run
    from synth.base.errors import (
        ConfigError,
        Diverged,
        EngineError,
        LogError,
        QuotaShort,
        RecipeError,
        SynthError,
    )
    from synth.compiler.plan.model import Plan
    from synth.models import Gemini, Model, OpenAI, Pocket, Simulated, Transformers, Vllm
    from synth.runtime.evaluation.evaluate import Report
    from synth.runtime.run.replay import Replayed
    from synth.runtime.run.report import RunReport
    from synth.store.dataset.output.written import Dataset

    __version__: str

__all__ = [
    "ConfigError",
    "Dataset",
    "Diverged",
    "EngineError",
    "Gemini",
    "LogError",
    "LogWarning",
    "Model",
    "OpenAI",
    "Plan",
    "Pocket",
    "QuotaShort",
    "RecipeError",
    "RecipeWarning",
    "Replayed",
    "Report",
    "RunReport",
    "Simulated",
    "SynthError",
    "Transformers",
    "Vllm",
    "compile",
    "evaluate",
    "materialize",
    "replay",
    "run",
]

_PLACES = {
    "Dataset": "synth.store.dataset.output.written",
    "Plan": "synth.compiler.plan.model",
    "Replayed": "synth.runtime.run.replay",
    "Report": "synth.runtime.evaluation.evaluate",
    "RunReport": "synth.runtime.run.report",
    **dict.fromkeys(
        ("ConfigError", "Diverged", "EngineError", "LogError", "QuotaShort", "RecipeError", "SynthError"),
        "synth.base.errors",
    ),
    **dict.fromkeys(
        ("LogWarning", "RecipeWarning", "compile", "evaluate", "materialize", "replay", "run"), "synth.api"
    ),
    **dict.fromkeys(
        ("Gemini", "Model", "OpenAI", "Pocket", "Simulated", "Transformers", "Vllm"), "synth.models"
    ),
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from synth.base.version import VERSION

            return VERSION
        if name not in _PLACES:
            raise AttributeError(f"module 'synth' has no attribute '{name}'")
        from importlib import import_module

        return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
