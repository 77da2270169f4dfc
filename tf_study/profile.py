"""Which data and sizes a notebook uses: ``small`` (default, embedded data) or ``full`` (real data sets).

The environment variable ``TF_STUDY_PROFILE`` chooses the profile before the kernel starts.
"""

import os
from typing import TypeVar

from tf_study.errors import StudyError

VARIABLE = "TF_STUDY_PROFILE"
NAMES = ("small", "full")

T = TypeVar("T")


def name() -> str:
    """Return the active profile, ``"small"`` or ``"full"``.

    Raises:
        StudyError: if ``TF_STUDY_PROFILE`` holds any other name.
    """
    value = os.environ.get(VARIABLE, "").strip().lower() or "small"
    if value not in NAMES:
        raise StudyError(
            f"{VARIABLE}={value!r}라는 프로필은 없으니 small 또는 full로 바꾸고 커널을 다시 시작하세요."
        )
    return value


def is_full() -> bool:
    """Return whether the real data sets are in use."""
    return name() == "full"


def pick(*, small: T, full: T) -> T:
    """Return ``small`` or ``full``, whichever belongs to the active profile."""
    return full if is_full() else small
