"""Wrong answers to the practices, one module a practice; ``WRONG`` maps each problem to its wrong answers."""


def with_mistake(function, mistake, **change):
    """Return ``function`` with one mistake, which the options make and the text names."""

    def wrong(*args):
        return function(*args, **change)

    wrong.__name__, wrong.__doc__ = f"{function.__name__}_{'_'.join(mistake.split())}", mistake
    return wrong
