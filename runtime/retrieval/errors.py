"""What keeps a query from an answer, and is one sample's fault rather than the run's."""

from __future__ import annotations

from synth.base.errors import ConfigError, SynthError


class RetrievalShort(SynthError):
    """There are not the passages that were asked for.  The message is the reason for which a
    sample is abandoned; asking again would not help."""


class BadFilter(ConfigError):
    """A `where` that cannot be read, or names what the passages do not have."""
