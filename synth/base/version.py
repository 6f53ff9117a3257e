"""The version of the product, and those of packages, for the log's runs and the manifests of datasets."""

VERSION = "0.2.0.dev0"


def package_version(package: str) -> str:
    """The installed version, or `unknown` where the package runs from its source."""
    # Takes as long to import as all that `synth --help` needs of the product.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
