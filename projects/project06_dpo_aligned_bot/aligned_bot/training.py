"""Supervised fine-tuning and DPO of a LoRA adapter with TRL and PEFT; goes on after an interruption as if there were none.

An output folder holds the adapter, ``log.jsonl``, ``curves.png`` and, written last, the card. While it is learnt,
``run.json`` says with what, and ``checkpoints`` holds what TRL needs to go on.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import peft
import torch
import transformers
import trl
from torch.nn import functional

from aligned_bot import bot as bots
from aligned_bot import curves
from aligned_bot.bot import Bot
from aligned_bot.data import Data, Row
from aligned_bot.settings import CARD, Settings
from tf_study import cli
from tf_study.errors import StudyError

WEIGHTS = "adapter_model.safetensors"
RUN, CHECKPOINTS, LOG, CURVES = "run.json", "checkpoints", "log.jsonl", "curves.png"
STATE = "trainer_state.json"  # that TRL writes last into a checkpoint
WATCHED = 32  # held-out rows that are measured while it learns
UNKNOWN = 0.1  # share of unknown words in the answers from which the data is another language
NAMES = {  # TRL's names of what it logs → ours
    "loss": "loss",
    "learning_rate": "rate",
    "grad_norm": "gradient",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "logps/chosen": "chosen",
    "logps/rejected": "rejected",
}

Report = Callable[[str], None]


@dataclass(frozen=True)
class Tokens:
    """A row as the model reads it: the question up to where the learnt answer begins, and the answers with their ends."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def train(
    data: Data, output: Path, settings: Settings, restart: bool = False, report: Report = print
) -> dict:
    """Train, or go on with an interrupted training, and write the finished adapter.

    Started by ``accelerate launch`` or ``torchrun``, all processes call this; the first one writes and reports.

    Args:
        data: for ``dpo`` its pairs are learnt, for ``sft`` all its answers.
        output: folder of the adapter, made when missing.
        restart: forget an earlier training in the folder.
        report: called with each line of progress.

    Returns:
        The card.

    Raises:
        StudyError: if the folder holds something else, the data does not fit the model, or the loss is no number.
    """
    arguments = _arguments(output, settings)  # Started in several processes, they find each other here.
    first = arguments.process_index == 0
    if first:
        if restart:
            clear(output)
        check_output(output, settings, data)
        _write_json(output / RUN, _about(settings, data))
    arguments.distributed_state.wait_for_everyone()
    bot = bots.load(settings.base)
    rows, long = encode(bot, _learnt(data.train, settings), settings.longest)
    watched, _ = encode(bot, _learnt(data.held_out, settings), settings.longest)
    watched = watched[:: -(-len(watched) // WATCHED) or 1]
    if not rows or not watched:
        raise StudyError(
            f"{data.source}에 {settings.longest}토큰을 넘지 않는 줄이 모자라니 더 넣거나 짧게 줄이세요."
        )
    if settings.kind == "sft":  # Of the held-out rows only the answers to learn are looked at.
        watched = [Tokens(row.prompt, row.chosen, []) for row in watched]
    trainer = _trainer(bot, rows, settings, arguments)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(_Watch(watched, settings, output, report))
    last = last_checkpoint(output)
    if first:
        if long:
            report(f"{settings.longest}토큰을 넘어 뺀 줄: {long}개")
        if last:
            report(f"중단한 학습을 잇습니다. 마친 스텝: {_step(last)}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if first:
        _finish(trainer, output, settings, data, rows, report)
    arguments.distributed_state.wait_for_everyone()
    return json.loads((output / CARD).read_text(encoding="utf-8"))


def _learnt(rows: Sequence[Row], settings: Settings) -> list[Row]:
    return [row for row in rows if row.rejected or settings.kind == "sft"]


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not."""
    for name in (CARD, RUN, LOG, CURVES, bots.ADAPTER, WEIGHTS):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)


def check_output(output: Path, settings: Settings, data: Data) -> None:
    """Refuse an output folder that training would spoil.

    Raises:
        StudyError: if it holds the base, a finished adapter, or an unfinished run with other settings or data.
    """
    if output.resolve() == Path(settings.base).resolve():
        raise StudyError(f"{output}은(는) 시작할 모델의 폴더이니 다른 폴더를 주세요.")
    if (output / CARD).exists():
        raise StudyError(
            f"{output}에 학습을 마친 모델이 있으니 다른 폴더를 주거나 --restart로 다시 학습하세요."
        )
    if not (output / RUN).exists():
        return
    try:
        about = json.loads((output / RUN).read_text(encoding="utf-8"))
        before, fingerprint = about["settings"], about["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{output / RUN}이(가) 깨졌으니 --restart로 다시 학습하세요.") from None
    if before != settings.as_json():
        raise StudyError(
            f"{output}에 다른 설정으로 하던 학습이 있으니 그 설정으로 잇거나 --restart를 주세요."
        )
    if fingerprint != data.fingerprint():
        raise StudyError("데이터가 중단한 때와 다르니 되돌리거나 --restart로 다시 학습하세요.")


def last_checkpoint(output: Path) -> Path | None:
    """Return the last whole checkpoint; one that was being written when the training was killed is none."""
    found = sorted((output / CHECKPOINTS).glob("checkpoint-*"), key=_step, reverse=True)
    for path in found:
        try:
            if json.loads((path / STATE).read_text(encoding="utf-8"))["global_step"] == _step(path):
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def encode(bot: Bot, rows: Sequence[Row], longest: int) -> tuple[list[Tokens], int]:
    """Return the rows in tokens, and how many were left out for being longer than ``longest``.

    Raises:
        StudyError: if the model does not know many of the words.
    """
    found = []
    for row in rows:
        rejected = bot.answer_tokens(row.rejected, row.given) if row.rejected else []
        found.append(
            Tokens(bot.prompt(row.prompt, row.given), bot.answer_tokens(row.answer, row.given), rejected)
        )
    answers = [token for tokens in found for token in tokens.chosen]
    unknown = np.mean([token == bot.tokenizer.unk_token_id for token in answers]) if answers else 0.0
    if unknown > UNKNOWN:
        raise StudyError(
            f"답의 낱말 가운데 {100 * unknown:.0f}%를 {bot.name}이(가) 모르니 --base로 다른 모델을 주거나 데이터를 바꾸세요."
        )
    most = min(longest, bot.context)
    fits = [row for row in found if len(row.prompt) + max(len(row.chosen), len(row.rejected)) <= most]
    return fits, len(found) - len(fits)


@torch.no_grad()
def measure(model: peft.PeftModel, rows: Sequence[Tokens], beta: float) -> dict[str, float]:
    """Compare a model with itself without its adapter.

    Returns:
        ``nll``, of the chosen answers per token; ``kl``, KL(model || base) of the next token, exact over the vocabulary,
        averaged over the tokens of the chosen answers; ``chosen``, the mean change of log p(chosen). For pairs also
        ``rejected``, ``margin`` (beta times chosen minus rejected) and ``accuracy``, how often the margin is above 0.
    """
    training = model.training
    model.eval()
    pairs = all(row.rejected for row in rows)
    answers = [(row.prompt, row.chosen) for row in rows]
    answers += [(row.prompt, row.rejected) for row in rows] if pairs else []
    width = max(len(prompt) + len(answer) for prompt, answer in answers)
    size = max(1, bots.SCORES // (width * model.config.vocab_size))
    chunks = [_compare(model, answers[start : start + size]) for start in range(0, len(answers), size)]
    model.train(training)
    now, before, kl = (np.concatenate(part) for part in zip(*chunks, strict=True))
    count, change = sum(len(row.chosen) for row in rows), now - before
    chosen = slice(len(rows))
    found = {
        "nll": -now[chosen].sum() / count,
        "kl": kl[chosen].sum() / count,
        "chosen": change[chosen].mean(),
    }
    if pairs:
        margin = beta * (change[chosen] - change[len(rows) :])
        found |= {
            "rejected": change[len(rows) :].mean(),
            "margin": margin.mean(),
            "accuracy": (margin > 0).mean(),
        }
    return {name: float(value) for name, value in found.items()}


def _compare(model, rows: Sequence[tuple[list[int], list[int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each row, summed over its answer: log p, that without the adapter, and KL(model || base)."""
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    tokens, learnt = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for number, (prompt, answer) in enumerate(rows):
        tokens[number, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        learnt[number, len(prompt) : len(prompt) + len(answer)] = 1
    tokens, learnt = tokens.to(model.device), learnt[:, 1:].to(model.device)

    def scores():  # What fills a row up stands behind it and is not seen from it.
        return functional.log_softmax(model(input_ids=tokens).logits[:, :-1].float(), -1)

    now = scores()
    with model.disable_adapter():
        before = scores()
    kl = (now.exp() * (now - before)).sum(-1)
    own = [part.gather(2, tokens[:, 1:, None])[..., 0] for part in (now, before)]
    return tuple((part * learnt).sum(1).double().cpu().numpy() for part in (*own, kl))


class _Watch(transformers.TrainerCallback):
    """Measures on held-out rows, keeps the log, and reports. What it finds is kept in TRL's checkpoints, too."""

    def __init__(self, rows, settings: Settings, output: Path, report: Report):
        self.rows, self.settings, self.output, self.report = rows, settings, output, report

    def on_train_begin(self, args, state, control, model=None, **_):
        if state.global_step == 0 and state.is_world_process_zero:
            self._measure(state, model)

    def on_step_end(self, args, state, control, model=None, **_):
        ends = state.global_step == self.settings.steps
        if state.is_world_process_zero and (state.global_step % self.settings.every == 0 or ends):
            self._measure(state, model)

    def on_log(self, args, state, control, logs=None, **_):
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise StudyError("손실이 수가 아니게 되었으니 --rate를 줄이고 --restart로 다시 학습하세요.")

    def on_save(self, args, state, control, **_):
        if state.is_world_process_zero:
            lines = write_log(self.output, state.log_history)
            self.report(_progress(lines[-1], self.settings.steps))

    def _measure(self, state, model):
        found = measure(model, self.rows, self.settings.beta)
        state.log_history.append({"step": state.global_step, "held_out": found})


def history(entries: Sequence[dict]) -> list[dict]:
    """Return TRL's log as one line a step, in our names; ``held_out`` in some."""
    lines: dict[int, dict] = {}
    for entry in entries:
        line = lines.setdefault(entry["step"], {"step": entry["step"]})
        line |= {ours: entry[theirs] for theirs, ours in NAMES.items() if theirs in entry}
        if "held_out" in entry:
            line["held_out"] = dict(sorted(entry["held_out"].items()))  # TRL's checkpoints sort, too.
    return [lines[step] for step in sorted(lines)]


def write_log(output: Path, entries: Sequence[dict]) -> list[dict]:
    """Write :func:`history` as JSONL and return it."""
    lines = history(entries)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    cli.write_text(output / LOG, text)
    return lines


def _progress(line: dict, steps: int) -> str:
    held_out = line["held_out"]
    told = f"[{line['step']}/{steps}] 손실 {line['loss']:.4f}  평가할 데이터에서 NLL {held_out['nll']:.3f}"
    if "margin" in held_out:
        told += f"  정확도 {held_out['accuracy']:.2f}  보상 차이 {held_out['margin']:.2f}"
    return f"{told}  KL {held_out['kl']:.3f}"


def _arguments(output: Path, settings: Settings):
    """Return TRL's settings; the batch is divided among the processes and then into micro batches."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch % (settings.micro * processes):
        raise StudyError(
            f"배치 {settings.batch}이(가) micro {settings.micro} × 프로세스 {processes}의 배수가 되게 바꾸세요."
        )
    gpu = bots.device() == "cuda"
    common = dict(
        output_dir=str(output / CHECKPOINTS),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.micro,
        gradient_accumulation_steps=settings.batch // (settings.micro * processes),
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, settings.steps // 20),
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=settings.seed,
        use_cpu=not gpu,
        bf16=gpu,
        ddp_backend=("nccl" if gpu else "gloo") if processes > 1 else None,
        ddp_find_unused_parameters=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=gpu,
        logging_steps=1,
        save_steps=settings.every,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        log_level="error",
    )
    if settings.kind == "sft":
        return trl.SFTConfig(max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **common)
    losses = dict(loss_type=["sigmoid", "sft"], loss_weights=[1.0, settings.sft])
    return trl.DPOConfig(beta=settings.beta, max_length=None, **losses, **common)


class _PairsTrainer(trl.DPOTrainer):
    """TRL's trainer for rows that are tokens already: a given beginning belongs to the prompt."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


def _trainer(bot: Bot, rows: Sequence[Tokens], settings: Settings, arguments):
    lora = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    if settings.kind == "sft":
        table = [
            {"input_ids": row.prompt + row.chosen, "labels": [-100] * len(row.prompt) + row.chosen}
            for row in rows
        ]
        kind = trl.SFTTrainer
    else:
        table = [
            {"prompt_ids": row.prompt, "chosen_ids": row.chosen, "rejected_ids": row.rejected} for row in rows
        ]
        kind = _PairsTrainer
    return kind(
        bot.model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(table),
        processing_class=bot.tokenizer,
        peft_config=lora,
    )


def _finish(trainer, output: Path, settings: Settings, data: Data, rows, report: Report) -> None:
    """Write the adapter, the log and the card, in this order, and remove what was for going on."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.save_pretrained(output)
    (output / WEIGHTS).chmod(0o644)  # safetensors lets nobody but the owner read it.
    (output / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    base = os.path.relpath(settings.base, output) if Path(settings.base).is_dir() else settings.base
    adapter = json.loads((output / bots.ADAPTER).read_text(encoding="utf-8"))
    _write_json(output / bots.ADAPTER, adapter | {"base_model_name_or_path": base})
    lines = write_log(output, trainer.state.log_history)
    curves.draw(lines, output / CURVES)
    card = _about(settings, data) | {
        "data": data.source,
        "numbers": data.numbers,
        "rows": len(rows),
        "processes": trainer.args.world_size,
        "trainable": model.get_nb_trainable_parameters()[0],
        "parameters": model.get_nb_trainable_parameters()[1],
        "start": lines[0]["held_out"],
        "final": lines[-1]["held_out"],
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }
    _write_json(output / CARD, card)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    (output / RUN).unlink(missing_ok=True)
    report(f"어댑터(파라미터 {card['trainable']:,}개)를 {output}에 저장했습니다.")


def _about(settings: Settings, data: Data) -> dict:
    return {"settings": settings.as_json(), "fingerprint": data.fingerprint()}


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    cli.write_text(path, text)


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1
