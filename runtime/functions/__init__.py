"""Python functions of a project: run in processes of their own, and once."""
