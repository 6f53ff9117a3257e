"""Generated texts in Arabic and English: words of a language's letters and lengths, the common ones
often, in sentences."""

from __future__ import annotations

from itertools import accumulate
from random import Random

_SYLLABLES = {
    "en": (
        "ba ber ca chi con da den dis er fa for ga gen ha ing in ka la len lo ma men mo na ne no or "
        "pa per po ra re ri sa ser so ta ter ti ton tra un va ver vi wa win yo"
    ),
    "ar": (
        "ال با بر تا تر جا جم حا خر دا در را رس زا سا سل شر صب ضا طر ظل عا عم غا فا فر قا قل كا كت لا "
        "لم ما مر نا نم ها هد وا ور يا ين"
    ),
}
_WORDS = 2_000


class Writer:
    """Writes texts in one language, always the same for a seed."""

    def __init__(self, language: str, seed: int = 1) -> None:
        self._random = Random(seed)
        syllables = _SYLLABLES[language].split()
        self._words = sorted(
            {
                "".join(self._random.choices(syllables, k=self._random.choice((1, 2, 2, 3, 3, 4))))
                for _ in range(_WORDS)
            }
        )
        self._random.shuffle(self._words)
        # Zipf's law: the n-th word is n times as rare as the first.
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(len(self._words))))

    def words(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)

    def text(self, low: int, high: int) -> str:
        """A text of so many words, in sentences of about ten."""
        words = self.words(self._random.randint(low, high))
        ends = range(9, len(words), 10)
        for end in ends:
            words[end] += "."
        return " ".join(words).capitalize() + "."

    def changed(self, text: str) -> str:
        """The text with one word exchanged."""
        words = text.split(" ")
        words[self._random.randrange(len(words))] = self.words(1)[0]
        return " ".join(words)
