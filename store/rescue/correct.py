"""A few altered bytes, found by the database's own checksum.

The checksum of a block is the XOR of its words, each multiplied by a constant.  Where one word was
altered, what it was follows from the difference for each place that it may have; the right place is the
one where one byte had to change, since for most others the word would have to be another altogether.
"""

from __future__ import annotations

import struct

_FACTOR = 0xBF58476D1CE4E5B9
_MASK = (1 << 64) - 1
_INVERSE = pow(_FACTOR, -1, 1 << 64)


def corrections(block: bytes, stored: int, computed: int) -> list[tuple[int, bytes]]:
    """Where in a block eight bytes may not be as they were, and what they were then, likeliest first.

    There is one answer where a low bit of a word was altered; of its last bytes the difference says less,
    and then many places are as likely.
    """
    difference = computed ^ stored
    candidates = []
    for index, word in enumerate(struct.unpack_from(f"<{len(block) // 8}Q", block)):
        was = ((word * _FACTOR ^ difference) * _INVERSE) & _MASK
        bits = (changed := was ^ word).bit_count()
        if bits <= 8 and _bytes_of(changed) == 1:
            candidates.append((bits, index * 8, was.to_bytes(8, "little")))
    candidates.sort()
    return [(at, was) for bits, at, was in candidates if bits == candidates[0][0]]


def _bytes_of(changed: int) -> int:
    return sum(1 for byte in changed.to_bytes(8, "little") if byte)
