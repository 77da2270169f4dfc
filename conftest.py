"""pytest configuration that cannot be said in pyproject.toml: how notebooks are compared, and a browser."""

import shutil
from pathlib import Path

import pytest
from nbval.plugin import IPyNbFile

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)


def pytest_configure(config):
    # Set here because a path in addopts would be relative to the folder pytest is started in.
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(Path(__file__).parent / "tests" / "nbval_sanitize.cfg")


def pytest_collectstart(collector):
    # What C++ libraries print on stderr differs between machines; a Python warning there is
    # caught when outputs are stored (rule clean_run in tests/notebook_rules.py).
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += ("stderr",)


@pytest.fixture
def page():
    """An empty page of a headless Chromium or Chrome (playwright's ``Page``); skips where there is none."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("Chromium이 없습니다.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser.new_page()
        browser.close()
