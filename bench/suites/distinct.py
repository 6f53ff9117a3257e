"""How long it takes to keep near-duplicates out: 100,000 texts, a fifth of them near-duplicates,
looked for and kept one after the other, against a bare pass of rensa over the same texts.

The bare pass makes the same trigrams and the same sketches and looks for nothing.  `hashing` is the
part of it that rensa does alone, given trigrams that were made before.

    python -m bench.suites.distinct [--texts N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import psutil

from bench.lib.texts import Writer
from synth.compiler.stdlib.near_duplicates import NearDuplicates

TEXTS = 100_000
SIMILARITY = 0.9
CHUNK = 5_000


def workload(count: int) -> list[str]:
    """Texts of 12 to 60 words, half in Arabic; one in five is an earlier one with a word changed."""
    random = Random(5)
    writers = [Writer("en"), Writer("ar")]
    texts: list[tuple[str, Writer]] = []
    for number in range(count):
        if number and random.random() < 0.2:
            text, writer = texts[random.randrange(number)]
            texts.append((writer.changed(text), writer))
        else:
            writer = writers[number % 2]
            texts.append((writer.text(12, 60), writer))
    return [text for text, _ in texts]


def measure(count: int) -> dict[str, Any]:
    texts = workload(count)
    permutations = NearDuplicates(SIMILARITY)._permutations
    process = psutil.Process()
    bare, hashing = _bare(texts, permutations)
    before = process.memory_info().rss
    index = NearDuplicates(SIMILARITY)
    refused = 0
    began = time.perf_counter()
    for number, text in enumerate(texts):
        if index.find(text) is None:
            index.keep(str(number), text)
        else:
            refused += 1
    took = time.perf_counter() - began
    memory = process.memory_info().rss - before
    return {
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"python": platform.python_version(), "rensa": version("rensa")},
        "texts": count,
        "characters_a_text": round(sum(map(len, texts)) / count),
        "permutations": permutations,
        "refused": refused,
        "bare_pass_s": round(bare, 2),
        "hashing_alone_s": round(hashing, 2),
        "find_and_keep_s": round(took, 2),
        "over_bare_pass": round(took / bare, 2),
        "over_hashing_alone": round(took / hashing, 2),
        "texts_a_second": round(count / took),
        "memory_mib": round(memory / 2**20),
        "memory_bytes_a_kept_text": round(memory / (count - refused)),
    }


def _bare(texts: list[str], permutations: int) -> tuple[float, float]:
    """Seconds of sketching texts, and of sketching trigrams that are there already."""
    from rensa import RMinHash

    began = time.perf_counter()
    for text in texts:
        RMinHash(permutations, 1).update(_trigrams(text))
    whole = time.perf_counter() - began
    hashing = 0.0
    for start in range(0, len(texts), CHUNK):
        chunk = [_trigrams(text) for text in texts[start : start + CHUNK]]
        began = time.perf_counter()
        for trigrams in chunk:
            RMinHash(permutations, 1).update(trigrams)
        hashing += time.perf_counter() - began
    return whole, hashing


def _trigrams(text: str) -> list[str]:
    folded = " ".join(text.casefold().split())
    return [folded[at : at + 3] for at in range(len(folded) - 2)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=TEXTS, help="how many texts")
    arguments.add_argument("--json", type=Path, help="write the figures here too")
    options = arguments.parse_args()
    figures = measure(options.texts)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
