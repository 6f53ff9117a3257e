"""Versions of packages, for events and manifests."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version(package: str) -> str:
    """The installed version, or `unknown` where the package runs from its source."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
