"""What tests of the projects' command lines share."""

import pytest


def runner(main):
    """Return a fixture: a function that runs ``main`` with arguments and returns status, stdout and stderr."""

    @pytest.fixture
    def run(capsys):
        def call(*arguments):
            status = main([str(argument) for argument in arguments])
            return status, *capsys.readouterr()

        return call

    return run
