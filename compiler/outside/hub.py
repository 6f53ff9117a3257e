"""What dataset hubs take for the licence and the languages of a dataset."""

from __future__ import annotations

import re

from synth.base.suggest import suggest

# The identifiers that the Hugging Face Hub takes; most are those of SPDX in small letters.
LICENCES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
    bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0
    cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
    fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc
    lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit
    mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 open-mdw openrail openrail++ osl-3.0 other pddl postgresql
    unknown unlicense wtfpl zlib
    """.split()
)

# ISO 639-1, all of it.  Codes of three letters are too many to list.
_TWO_LETTERS = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
    dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
    ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu
    lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu
    rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to
    tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)

# A language, and what may follow it in BCP 47: a script, a place, and variants of one's own.
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?P<script>-[a-z]{4})?(?P<region>-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-x(?:-[a-z0-9]{1,8})+)?)",
    re.ASCII | re.IGNORECASE,
)

# What is often written for a language, and is another thing or nothing.
_MEANT = {
    "arabic": "ar", "chinese": "zh", "cn": "zh", "cz": "cs", "dk": "da", "dutch": "nl", "english": "en",
    "french": "fr", "german": "de", "gr": "el", "hindi": "hi", "indonesian": "id", "italian": "it",
    "japanese": "ja", "javanese": "jv", "jp": "ja", "korean": "ko", "polish": "pl", "portuguese": "pt",
    "russian": "ru", "spanish": "es", "turkish": "tr", "vn": "vi",
}  # fmt: skip


def licence(written: str) -> str | None:
    """A licence as the Hub writes it, or None where it knows none of the name."""
    name = written.strip().lower()
    return name if name in LICENCES else None


def likely_licence(written: str) -> str | None:
    """The licence that was probably meant."""
    name = written.strip().lower().replace(" ", "-").removesuffix("-only").removesuffix("-or-later")
    if name in LICENCES:
        return name
    longer = sorted(
        (licence for licence in LICENCES if name and licence.startswith(f"{name}-")), reverse=True
    )
    return longer[0] if longer else suggest(name, sorted(LICENCES))


def language(written: str) -> str | None:
    """A language tag in the letters that BCP 47 recommends (`pt-BR`), or None where it is none."""
    tag = _TAG.fullmatch(written.strip().replace("_", "-"))
    if tag is None:
        return None
    code = tag["language"].lower()
    if len(code) == 2 and code not in _TWO_LETTERS:
        return None
    script, region = (tag["script"] or "").title(), (tag["region"] or "").upper()
    return f"{code}{script}{region}{tag['variants'].lower()}"


def likely_language(written: str) -> str | None:
    """The code of the language that was probably meant."""
    return _MEANT.get(written.strip().lower())
