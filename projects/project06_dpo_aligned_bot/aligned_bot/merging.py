"""An adapter and its base as one folder, which transformers, vLLM and project 4's server open."""

import json
import shutil
from pathlib import Path

import torch

from aligned_bot import bot as bots
from aligned_bot.settings import CARD
from tf_study.errors import StudyError

SAMPLES = ("자전거 고치는 방법 알려 줘", "안녕하세요, 무엇을 할 수 있나요?")
CLOSE = 1e-3  # of the logits, relative to the largest; float32 rounds to 1e-7, and layers add that up


def merge(source: str, output: Path) -> float:
    """Write the weights of an adapter and its base, added up, with the tokenizer; then read them back and compare.

    Args:
        source: the adapter's folder.
        output: a folder that is new or empty.

    Returns:
        The largest difference between logits of base and adapter, computed apart, and of what was written.

    Raises:
        StudyError: if there is no adapter, the output folder is in use, or what was written computes something else.
    """
    import peft

    if not (Path(source) / bots.ADAPTER).is_file():
        raise StudyError(f"{source}에 어댑터가 없으니 sft나 dpo가 만든 폴더를 주세요.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StudyError(f"{output}이(가) 비어 있지 않으니 다른 폴더를 주세요.")
    base = bots.load(bots.base_of(Path(source)))
    apart = peft.PeftModel.from_pretrained(base.model, source).eval()
    wanted = [_logits(apart, base, text) for text in SAMPLES]
    part = output.with_name(f".part-{output.name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        apart.merge_and_unload().save_pretrained(part)
        base.tokenizer.save_pretrained(part)
        for file in part.glob("*.safetensors"):
            file.chmod(0o644)  # safetensors lets nobody but the owner read it.
        if (card := Path(source) / CARD).is_file():
            shutil.copyfile(card, part / CARD)
        merged = bots.load(part)
        found = [_logits(merged.model, merged, text) for text in SAMPLES]
        difference = max(float((a - b).abs().max()) for a, b in zip(wanted, found, strict=True))
        if not difference <= CLOSE * max(float(logits.abs().max()) for logits in wanted):
            raise StudyError(
                f"합친 모델의 로짓이 {difference:.1e}만큼 다르니 디스크를 확인하고 다시 실행하세요."
            )
        if output.exists():
            output.rmdir()
        part.rename(output)
    except OSError as error:
        raise StudyError(
            f"{output}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({error.strerror or error})."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return difference


def engine_refuses(folder: Path) -> str | None:
    """Return the name of a structure that project 4's own engine does not compute, ``None`` for a Llama."""
    (kind,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return None if kind == "LlamaForCausalLM" else kind


@torch.inference_mode()
def _logits(model, bot: bots.Bot, text: str) -> torch.Tensor:
    return model(input_ids=torch.tensor([bot.prompt(text)], device=model.device)).logits.float()
