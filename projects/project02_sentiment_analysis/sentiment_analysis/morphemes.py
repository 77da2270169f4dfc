"""The analyser of morphemes, one for a process: it needs a second to start and a third of a gigabyte."""

import functools


@functools.cache
def kiwi():
    """Return Kiwi; its ``tokenize`` takes a text or many."""
    from kiwipiepy import Kiwi

    # Without the dictionary of names of several words, which would double both.
    return Kiwi(num_workers=1, load_multi_dict=False)
