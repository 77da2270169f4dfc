"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import numpy as np
import pytest

TRAINING = (
    "--data",
    "embedded",
    "--pretraining",
    "0",
    "--epochs",
    "1",
    "3",
    "--batch",
    "16",
    "--tokens",
    "48",
)


@pytest.fixture(scope="session", autouse=True)
def torch():
    """Leave PyTorch to transformers: other projects' tests in this process want its classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USE_TORCH", "AUTO")
        yield


@pytest.fixture(scope="session")
def training_options():
    """Options of ``train`` with which the small encoder learns something in seconds."""
    return list(TRAINING)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a small model after ``train``. Tests must not change it."""
    from sentiment_analysis.__main__ import main

    folder = tmp_path_factory.mktemp("모델") / "small"
    assert main(["train", "--output", str(folder), *TRAINING]) == 0
    return folder


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """The folder of the same model after ``export``, in all forms. Tests must not change it."""
    import shutil

    from sentiment_analysis import export
    from sentiment_analysis.settings import FORMS

    folder = tmp_path_factory.mktemp("내보낸 모델") / "small"
    shutil.copytree(trained, folder)
    export.export(folder, FORMS)
    return folder


@pytest.fixture(scope="session")
def int8(exported):
    """The same model's form of whole numbers, loaded."""
    from sentiment_analysis import model

    return model.load(exported, "int8")


@pytest.fixture(scope="session")
def served(exported):
    """The same model's form that takes strings and has gradients, loaded."""
    from sentiment_analysis import model

    return model.load(exported)


@pytest.fixture(scope="session")
def tsv(tmp_path_factory):
    """A TSV file of 120 reviews with a heading and five bad lines."""
    path = tmp_path_factory.mktemp("데이터") / "reviews.tsv"
    random = np.random.default_rng(0)
    words = (("지루한", "별로인", "아까운"), ("재미있는", "훌륭한", "따뜻한"))
    lines = ["id\tdocument\tlabel"]
    for number in range(120):
        mood = words[number % 2]
        lines.append(f'{number}\t"{mood[random.integers(3)]} 영화 {number}번\t{number % 2}')
    lines += ["900\t칸이 모자란 줄", "901\t\t1", "902\t레이블이 둘인 줄\t2", "903\t하나\t둘\t1", ""]
    path.write_text("\n".join(lines) + "\n120\t따뜻한 영화 끝\t긍정\n", encoding="utf-8")
    return path
