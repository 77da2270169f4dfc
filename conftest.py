"""pytest configuration that cannot be said in pyproject.toml: how notebooks are compared."""

from pathlib import Path

from nbval.plugin import IPyNbFile


def pytest_configure(config):
    # Set here because a path in addopts would be relative to the folder pytest is started in.
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(Path(__file__).parent / "tests" / "nbval_sanitize.cfg")


def pytest_collectstart(collector):
    # What C++ libraries print on stderr differs between machines; a Python warning there is
    # caught when outputs are stored (rule clean_run in tests/notebook_rules.py).
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += ("stderr",)
