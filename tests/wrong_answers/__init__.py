"""Wrong answers to the practices, one module a practice; ``WRONG`` maps each problem to its wrong answers."""


def variants(kind, *changes):
    """Return a subclass of ``kind`` for each mistake; the class attribute ``change`` names it."""
    return [
        type(f"{kind.__name__}_{'_'.join(c.split())}", (kind,), {"change": c, "__doc__": c}) for c in changes
    ]


def with_mistake(function, mistake, **change):
    """Return ``function`` with one mistake, which the options make and the text names."""

    def wrong(*args):
        return function(*args, **change)

    wrong.__name__, wrong.__doc__ = f"{function.__name__}_{'_'.join(mistake.split())}", mistake
    return wrong
