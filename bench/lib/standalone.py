"""Benchmarks that are scripts of their own and print JSON: run as processes, shown like the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.lib.harness import ROOT, Options, Unavailable, measured
from bench.lib.report import Bars, Cell, Plot, Report, Table

Figures = Mapping[str, Any]
# What every script says of its machine; the harness says it better.
_FACTS = frozenset({"machine", "versions"})


@dataclass(frozen=True, slots=True)
class Script:
    """`quick` and `normal` are its arguments, besides `--json FILE`."""

    title: str
    headline: Callable[[Figures], str]
    quick: tuple[str, ...]
    normal: tuple[str, ...] = ()
    plots: Callable[[Figures], list[Plot]] | None = None
    packages: tuple[str, ...] = ()


def measure(name: str, options: Options) -> Report:
    """Runs `python -m bench.suites.NAME` and puts its figures into tables."""
    script = SCRIPTS[name]
    if not (ROOT / "bench" / "suites" / f"{name}.py").exists():
        raise Unavailable(f"bench/suites/{name}.py is not there")
    path = options.work / "figures.json"
    command = [
        sys.executable,
        "-m",
        f"bench.suites.{name}",
        "--json",
        str(path),
        *options.pick(script.quick, script.normal),
    ]
    measured(command, cwd=options.work).require()
    figures: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return Report(
        title=script.title,
        headline=script.headline(figures),
        tables=tables(figures),
        plots=script.plots(figures) if script.plots else [],
        figures=figures,
        packages=script.packages or tuple(figures.get("versions", {})),
    )


def tables(figures: Figures) -> list[Table]:
    """Plain figures in one table, and one for all groups that have the same names, a column each."""
    plain: list[tuple[Cell, ...]] = []
    grouped: dict[tuple[str, ...], dict[str, dict[str, Cell]]] = {}
    for name, value in figures.items():
        if name in _FACTS:
            continue
        if isinstance(value, Mapping):
            flat = dict(_flat(value))
            grouped.setdefault(tuple(flat), {})[name] = flat
        else:
            plain.append((_words(name), _cell(value)))
    all_tables = [Table("Figures", ("", ""), plain)] if plain else []
    for names, groups in grouped.items():
        rows: list[tuple[Cell, ...]] = [
            (_words(name), *(group[name] for group in groups.values())) for name in names
        ]
        all_tables.append(Table(", ".join(map(_words, groups)), ("", *map(_words, groups)), rows))
    return all_tables


def _flat(value: Mapping[str, Any], above: str = "") -> list[tuple[str, Cell]]:
    flat: list[tuple[str, Cell]] = []
    for name, inner in value.items():
        full = f"{above}{name}"
        flat += _flat(inner, f"{full}: ") if isinstance(inner, Mapping) else [(full, _cell(inner))]
    return flat


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _checks_headline(figures: Figures) -> str:
    english, arabic = figures["en"], figures["ar"]
    return (
        f"A house style of five checks looks at {english['house_style_texts_a_second']:,} English and "
        f"{arabic['house_style_texts_a_second']:,} Arabic texts a second."
    )


def _checks_plots(figures: Figures) -> list[Plot]:
    rates = {name: figures[short]["texts_a_second"] for name, short in (("English", "en"), ("Arabic", "ar"))}
    labels = list(rates["English"])
    values: dict[str, list[float | None]] = {
        name: [float(by_label[label]) for label in labels] for name, by_label in rates.items()
    }
    return [Bars("Texts a second, each check alone", "texts a second, logarithmic", labels, values, log=True)]


def _distinct_headline(figures: Figures) -> str:
    return (
        f"{figures['texts']:,} texts in {figures['find_and_keep_s']} s, {figures['over_bare_pass']} x a bare "
        f"pass of rensa; {figures['memory_bytes_a_kept_text']:,} bytes for each text kept."
    )


def _distinct_plots(figures: Figures) -> list[Plot]:
    names = ("hashing_alone_s", "bare_pass_s", "find_and_keep_s")
    values: list[float | None] = [float(figures[name]) for name in names]
    labels = ["rensa, trigrams given", "rensa, trigrams made", "found and kept"]
    return [Bars(f"{figures['texts']:,} texts", "seconds", labels, {"seconds": values})]


SCRIPTS = {
    "checks": Script(
        "Checks: texts a second",
        _checks_headline,
        quick=("--texts", "50"),
        plots=_checks_plots,
    ),
    "distinct": Script(
        "Near-duplicates: keeping them out of 100,000 texts",
        _distinct_headline,
        quick=("--texts", "500"),
        plots=_distinct_plots,
    ),
}
