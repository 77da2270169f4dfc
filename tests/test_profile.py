import subprocess
import sys

import pytest

from tf_study import profile
from tf_study.errors import StudyError


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "small"), ("", "small"), ("small", "small"), (" FULL ", "full")]
)
def test_name(monkeypatch, value, expected):
    monkeypatch.delenv(profile.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(profile.VARIABLE, value)
    assert profile.name() == expected
    assert profile.pick(small=1, full=2) == (2 if expected == "full" else 1)
    assert profile.is_full() == (expected == "full")


def test_unknown_name_is_one_korean_sentence(monkeypatch):
    monkeypatch.setenv(profile.VARIABLE, "medium")
    with pytest.raises(StudyError, match="small 또는 full"):
        profile.name()


def test_unknown_name_stops_the_import_with_one_line_in_ipython():
    code = (
        "import IPython; s = IPython.core.interactiveshell.InteractiveShell(); s.run_cell('import tf_study')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"TF_STUDY_PROFILE": "medium", "PATH": "", "HOME": "/tmp"},
        capture_output=True,
        text=True,
    )
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    assert len(lines) == 1 and "StudyError" in lines[0] and "medium" in lines[0]
