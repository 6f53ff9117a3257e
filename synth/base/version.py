"""The version of the product: what the wheel, the log's runs and the manifests of datasets say."""

VERSION = "0.2.0.dev0"
