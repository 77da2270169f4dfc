from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def blocked():
    return Path(__file__).parent / "examples" / "blocked.txt"
