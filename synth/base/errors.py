"""The exceptions that reach a user.  Each is one sentence that says what to do.

SynthError                 exit status 1
├── RecipeError            1   the recipe has diagnostics; 2 where all are of `--set`
├── ConfigError            1   synth.toml, --model, --set, a path, a source
│   ├── OptionError        2   an option of the command line, or an argument in its place
│   └── BadFilter              a `where` that cannot be read (runtime.retrieval)
├── EngineError            1   an engine cannot serve this run at all
│   ├── ExtraMissing           its packages are not installed
│   ├── KeyMissing             its API key is not set
│   └── EngineDied             it stopped answering and could not be restarted
├── CallFailed             -   one call failed; caught by the runtime, never shown
│   └── AccessDenied           by a service that may refuse all others alike
├── RetrievalShort         -   a sample's passages cannot be had; caught likewise (synth.runtime.retrieval)
├── QuotaShort             3   a quota, split or mix cannot be met
├── Diverged               4   a dataset or a replay differs from the log
└── LogError               5
    ├── LogHeld                another process is writing
    ├── LogDamaged             seq, counts or the hash chain do not hold
    ├── LogShort               events are missing that its witness saw
    └── LogFull                the disk refused a commit
"""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.display import escaped_block
from synth.base.extras import install


class SynthError(Exception):
    """Base of everything this project raises on purpose.  `diagnostics` are the recipe's faults,
    where those are what is wrong."""

    exit_status: int = 1
    diagnostics: tuple[Diagnostic, ...] = ()

    def __str__(self) -> str:
        # Words of services, files and arguments are in it, whoever prints it.
        return escaped_block(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence, which says what to do, and not where it was raised."""
        return [f"{type(self).__name__}: {self}"]


class RecipeError(SynthError):
    """A recipe has faults; `diagnostics` lists them in file order.  As text it shows them all with
    the lines they are about."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = tuple(diagnostics)
        self.exit_status = exit_status_of(self.diagnostics)

    def __str__(self) -> str:
        from synth.base.diagnostics.render import to_text

        count = len(self.diagnostics)
        faults = f"{count} faults" if count != 1 else "a fault"
        return f"{faults} in the recipe\n\n{to_text(self.diagnostics, color=False, width=100)}"


def exit_status_of(diagnostics: Sequence[Diagnostic]) -> int:
    """That of a command which found these: 2 where all errors are the command line's, 0 without any."""
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity is Severity.ERROR]
    return 0 if not errors else 2 if all(diagnostic.command for diagnostic in errors) else 1


class ConfigError(SynthError):
    """A setting, override or path cannot be used."""


class OptionError(ConfigError):
    """An option says what cannot be, whatever the files hold."""

    exit_status = 2


class EngineError(SynthError):
    """An engine cannot serve this run at all: wrong key, unknown model, bad options."""


class ExtraMissing(EngineError):
    """A backend's packages are not installed."""

    def __init__(self, backend: str, extra: str, module: str) -> None:
        super().__init__(f"the {backend} backend needs `{module}`, which is not installed: {install(extra)}")


class KeyMissing(EngineError):
    """No API key in any of the environment variables that may hold it."""

    def __init__(self, backend: str, variables: Sequence[str]) -> None:
        super().__init__(f"the {backend} backend needs an API key: set {' or '.join(variables)}")


class EngineDied(EngineError):
    """An engine stopped answering and could not be restarted."""


class CallFailed(SynthError):
    """One call failed.

    `kind` is one word for the log (`rate_limit`, `server`, `connection`, `timeout`,
    `empty`, `malformed`, `refused`, `too_long`, `bad_request`, `denied`, `engine`, `given_up`);
    `retry_after` is in seconds.
    `prompt_tokens` and `completion_tokens` are what was paid for all the same; `cached_tokens` are
    among the first and `reasoning_tokens` among the second.  `lost` says that the service may have
    done the work and charge for it, though nobody knows how much; `unreached` that there is nobody
    at the address: no such name, or no port that listens.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        lost: bool = False,
        unreached: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after = retry_after
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.cached_tokens = cached_tokens
        self.reasoning_tokens = reasoning_tokens
        self.lost = lost
        self.unreached = unreached


class AccessDenied(CallFailed):
    """A service refused a call's key or its model, which may be this call's alone or everybody's.

    `verdict` is the sentence with which a run stops when it is everybody's; `final` says that it is.
    `of_key` says that the key was not known (401), rather than not allowed this.
    """

    def __init__(self, message: str, verdict: str, *, final: bool = False, of_key: bool = False) -> None:
        super().__init__("denied", message, retryable=False)
        self.verdict = verdict
        self.final = final
        self.of_key = of_key


class QuotaShort(SynthError):
    exit_status = 3


class Diverged(SynthError):
    exit_status = 4


class LogError(SynthError):
    exit_status = 5


class LogHeld(LogError):
    """Another process, or another run of this one, has the log open for writing."""


class LogDamaged(LogError):
    """What the log holds is not what was written."""


class LogShort(LogError):
    """Events are missing that were durable; nothing is written until that is accepted."""


class LogFull(LogError):
    """The disk refused a commit; everything committed before is safe."""
