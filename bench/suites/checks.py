"""How many texts a second the checks look at: each alone and a house style of several, on texts of
some 500 characters that pass.

Every text is looked at once, so nothing is found in a cache.

    python -m bench.suites.checks [--texts N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.lib.texts import Writer
from synth.compiler.stdlib.checks import CHECKS, run_check
from synth.compiler.stdlib.checks.fold import fold

TEXTS = 4_000
RUNS = 3

Checks = Sequence[tuple[str, Mapping[str, Any]]]

_BANNED = ["As an AI", "language model", "Great question", "certainly!", "سؤال رائع", "كمساعد ذكي"]
_PASSAGES = 3

_HOUSE_STYLE: Checks = (
    ("length", {"characters": [1, 1200]}),
    ("no_words", {"words": _BANNED}),
    ("no_emoji", {}),
    ("max_repetition", {"ngram": 4, "share": 15}),
    ("no_words", {"words": ["assistant", "مساعد"]}),
)


def texts(language: str, count: int, seed: int) -> list[str]:
    writer = Writer(language, seed)
    return [writer.text(70, 110) for _ in range(count)]


def alone(language: str, passages: list[dict[str, str]]) -> list[tuple[str, Mapping[str, Any]]]:
    """One call of each check of texts."""
    script = {"en": "Latin", "ar": "Arabic"}[language]
    arguments: dict[str, Mapping[str, Any]] = {
        "length": {"characters": [1, 1200]},
        "sentences": {"count": [1, 20]},
        "starts_with": {"prefix": ""},
        "ends_with": {"suffix": "."},
        "opens_with_any": {"words": ["Yes", "No"]},
        "no_words": {"words": _BANNED},
        "no_emoji": {},
        "max_repetition": {"ngram": 4, "share": 15},
        "script": {"words": [script]},
        "language": {"words": [language]},
        "no_bidi_controls": {},
        "json_valid": {},
        "parses_as": {"language": "sql"},
        "contains": {"phrase": "not found"},
        "differs_from": {"other": passages[0]["text"], "similarity": 0.8},
        "supported_by": {"evidence": passages, "share": 0},
        "draws_on": {"evidence": passages, "documents": [0, None]},
        "asks_beyond": {"evidence": passages, "share": 101},
        "verbatim": {"passages": passages},
        "same": {"one": passages, "other": passages},
    }
    assert arguments.keys() == {
        name
        for name, check in CHECKS.items()
        if check.takes not in ("messages", "number", "calls") and check.function is not None
    }
    return list(arguments.items())


def rate(work: Callable[[str], object], texts: Sequence[str]) -> int:
    """Texts a second: the median of some runs.  What is compiled once was compiled before."""
    work(texts[0])
    rates = []
    for _ in range(RUNS):
        fold.cache_clear()
        began = time.perf_counter()
        for text in texts:
            work(text)
        rates.append(len(texts) / (time.perf_counter() - began))
    return round(statistics.median(rates))


def measure(count: int) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            "regex": version("regex"),
            "py3langid": version("py3langid"),
        },
    }
    for language in ("en", "ar"):
        prose = texts(language, count, seed=1)
        passages = [
            {"document": str(number), "text": text}
            for number, text in enumerate(texts(language, _PASSAGES, seed=2))
        ]
        rates = {
            name: rate(lambda text, name=name, arguments=arguments: run_check(name, arguments, text), prose)  # type: ignore[misc]
            for name, arguments in alone(language, passages)
        }
        style = rate(
            lambda text: [run_check(name, arguments, text) for name, arguments in _HOUSE_STYLE], prose
        )
        figures[language] = {
            "characters_a_text": round(sum(map(len, prose)) / count),
            "house_style_texts_a_second": style,
            "texts_a_second": rates,
        }
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=TEXTS, help="how many texts in each language")
    arguments.add_argument("--json", type=Path, help="write the figures here too")
    options = arguments.parse_args()
    figures = measure(options.texts)
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
