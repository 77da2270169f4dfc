"""What tests of the projects' command lines share."""

import contextlib
import os
import shutil

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


@contextlib.contextmanager
def kept_before_writes(folder, copies):
    """Copy a folder to ``copies / name`` just before each of its files gets its name, which is what a kill would leave.

    Of several writes to a name the last copy stays.
    """
    rename = os.replace

    def keep(part, path):
        shutil.rmtree(copies / path.name, ignore_errors=True)
        shutil.copytree(folder, copies / path.name)
        rename(part, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", keep)
        yield
