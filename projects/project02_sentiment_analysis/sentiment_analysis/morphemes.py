"""The analyser of morphemes, one for a process: it needs two seconds to start and half a gigabyte."""

import functools


@functools.cache
def kiwi():
    """Return Kiwi; its ``tokenize`` takes a text or many."""
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)
