"""The language of a text, as `py3langid` tells it: an n-gram classifier whose model is in its package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.compiler.stdlib.checks.reasons import listed

# The languages that can be told, by ISO 639 code, and the varieties that count to each.
_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa "
    "fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka "
    "kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om "
    "or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk "
    "ur uz uzs vec vi vo wa wuu xh yo yue zh zu"
)
LANGUAGES = frozenset(_CODES.split())
_VARIETIES: Mapping[str, tuple[str, ...]] = {
    "ar": ("ary", "arz"),
    "no": ("nn",),
    "zh": ("wuu", "yue"),
    "ku": ("sdh",),
    "uz": ("uzs",),
}
# A text is refused when another language is likelier than not and the ones wanted are all but out
# of the question, or when they are wholly so whatever else it is.  What lies between cannot be told.
_LIKELY = 0.5
_UNLIKELY = 0.05
_OUT_OF_QUESTION = 0.0005


def language(text: str, words: Sequence[str]) -> str | None:
    """Refuses a text that is in none of the languages.  One too short or too mixed to tell passes,
    as does one without a letter."""
    if not any(map(str.isalpha, text)):
        return None
    ranked: list[tuple[str, float]] = identifier().rank(text)
    meant = {code for word in words for code in (word, *_VARIETIES.get(word, ()))}
    chance = sum(share for code, share in ranked if code in meant)
    first, share = ranked[0]
    # `zxx` is what is in no language at all.
    if share >= _LIKELY and chance < _UNLIKELY and first != "zxx":
        return f"is in the language `{first}`, not in {listed(words)}"
    return f"is not in the language {listed(words)}" if chance < _OUT_OF_QUESTION else None


def unknown_language(words: Sequence[str]) -> str | None:
    """The first code that is none of a language that can be told."""
    return next((word for word in words if word not in LANGUAGES), None)


@cache
def identifier() -> Any:
    """The classifier, loaded once (most of a second, 120 MB).  Raises ConfigError without its package."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise ConfigError(
            f"the check `language` needs `py3langid`, which is not installed: {install('language')}"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
