"""Folding: texts that a reader takes for the same word become the same characters.

Case and compatibility forms go (NFKC and full case folding), and what can stand between the
letters of a word without changing it: diacritics of Arabic and Hebrew, tatweel, invisible
characters.  Letters of Arabic that are written for each other become one: alef and hamza on a
seat, ya and alef maqsura, ta marbuta and ha, and the Persian shapes of kaf and ya.  Digits of
both Arabic kinds become ASCII, curly apostrophes straight, every hyphen and dash `-`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from unicodedata import normalize

_LETTERS = {
    "ا": "آأإٱٲٳٵ",
    "و": "ؤٶ",
    "ي": "ئىیېۍێٸ",
    "ه": "ةہھەۀۂۃ",
    "ك": "کڪ",
    "ے": "ۓ",
    "'": "’‘ʼ‛´`",
    "-": "‐‑‒–—―−",
    **{str(digit): chr(0x660 + digit) + chr(0x6F0 + digit) for digit in range(10)},
}
# What goes: characters that do not show, tatweel, and marks above or below the letters of
# scripts that are read without them.  Marks that other scripts spell with stay.
_GONE = r"(?V1)[\p{Default_Ignorable_Code_Point}ـ[\p{Mn}&&[\p{sc=Arabic}\p{sc=Hebrew}\p{sc=Inherited}]]]"
# Above so many kinds of characters to replace, one pass over the text is cheaper.
_MANY = 32


@lru_cache(maxsize=8)
def fold(text: str) -> str:
    """The text as words are compared.  The cache serves several checks of one text."""
    if text.isascii():
        return text.lower().replace("`", "'")
    # Case folding can leave what normalization would still change.
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    table = _table()
    present = table.keys() & set(folded)
    if len(present) > _MANY:
        return folded.translate({ord(char): table[char] for char in present})
    for char in present:
        folded = folded.replace(char, table[char])
    return folded


@cache
def _table() -> Mapping[str, str]:
    """What each folded character becomes.  The planes that have no such character are left out."""
    import regex

    planes = (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000))
    table = dict.fromkeys(regex.findall(_GONE, "".join(map(chr, planes))), "")
    for letter, others in _LETTERS.items():
        table.update(dict.fromkeys(others, letter))
    return table
