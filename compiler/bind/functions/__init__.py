"""Python files that recipes use: read as syntax trees, and never imported here."""
