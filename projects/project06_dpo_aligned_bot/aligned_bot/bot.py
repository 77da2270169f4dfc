"""A bot: a causal language model of transformers, its tokenizer, and what everything else asks of them.

A bot is ``world`` (:mod:`tf_study.manners`), ``smollm2``, a folder (a whole model, or a LoRA adapter that names its
base), or a name of the Hugging Face hub. What it is asked always goes through the tokenizer's chat template.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import accelerate
import numpy as np
import torch
import transformers
from torch.nn import functional

from aligned_bot.settings import WORLD
from tf_study import environment
from tf_study.errors import StudyError

PACKAGED = "smollm2"
ADAPTER = "adapter_config.json"
WORLD_TEMPLATE = (
    "{% set begin = namespace(text='') %}{% for message in messages %}"
    "{% if message.role == 'system' %}{% set begin.text = message.content + ' ' %}"
    "{% elif message.role == 'user' %}<질문> {{ begin.text }}{{ message.content }} {% set begin.text = '' %}"
    "{% else %}<답> {{ message.content }} <끝> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<답>{% endif %}"
)
CHUNK = 4096  # tokens that are in memory at once when many questions are answered
SCORES = 2**26  # numbers of logits that are in memory at once when many answers are scored

Question = (
    str | Sequence[dict]
)  # what is asked, or a conversation: {"role": ..., "content": ...} one after the other


@dataclass(frozen=True)
class Bot:
    """A model, its tokenizer, and the name under which :func:`load` finds it again."""

    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    name: str

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer."""
        named = self.model.generation_config.eos_token_id
        return frozenset(
            {self.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
        )

    @property
    def context(self) -> int:
        """The most tokens of question and answer together."""
        return self.model.config.max_position_embeddings

    def prompt(self, question: Question, given: str = "", system: str | None = None) -> list[int]:
        """Return the tokens of a question up to where the answer begins, and those of its given beginning.

        Raises:
            StudyError: if the tokenizer has no chat template, or the question does not fit.
        """
        if not self.tokenizer.chat_template:
            raise StudyError(
                f"{self.name}에는 대화 형식(chat template)이 없으니 대화를 배운 instruct 모델을 주세요."
            )
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else list(question)
        if system is not None:
            messages = [{"role": "system", "content": system}, *messages]
        tokens = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False
        )  # The last is of Qwen3's template: answer at once. Others do not look at it.
        tokens = [*tokens, *self.tokens(given)]
        if len(tokens) >= self.context:
            raise StudyError(f"질문이 {len(tokens)}토큰으로 너무 기니 {self.context}토큰보다 짧게 줄이세요.")
        return tokens

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, without the marks that begin and end one."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def answer_tokens(self, answer: str, given: str = "") -> list[int]:
        """Return the tokens of an answer and its end, or of what comes after its given beginning."""
        return [*self.tokens(f" {answer}" if given else answer), self.tokenizer.eos_token_id]

    def answer(
        self,
        questions: Sequence[Question],
        *,
        temperature: float = 0.0,
        seed: int = 0,
        limit: int = 64,
        given: str = "",
        system: str | None = None,
    ) -> list[str]:
        """Answer questions, many at a time.

        Args:
            questions: texts or conversations.
            temperature: 0 takes the likeliest token.
            seed: of the drawing; an answer depends on it and on its place in ``questions``.
            limit: tokens of an answer, at most.
            given: words with which every answer begins.
            system: instruction before each question.

        Returns:
            Answers, ``given`` included, without marks.
        """
        prompts = [self.prompt(question, given, system) for question in questions]
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        found = [""] * len(prompts)
        while order:
            rows = max(1, CHUNK // (len(prompts[order[-1]]) + limit))
            places, order = order[-rows:], order[:-rows]
            new = [[] for _ in places]
            chunk = [prompts[place] for place in places]
            for step in self._generate(chunk, temperature, [(seed, place) for place in places], limit):
                for tokens, token in zip(new, step, strict=True):
                    if token is not None:
                        tokens.append(token)
            for place, tokens in zip(places, new, strict=True):
                found[place] = self._text([*self.tokens(given), *tokens])
        return found

    def stream(
        self,
        question: Question,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        limit: int = 64,
        given: str = "",
        system: str | None = None,
    ) -> Iterator[str]:
        """Answer one question; yield the answer piece by piece as it comes. Joined, they are :meth:`answer`'s."""
        tokens, told = self.tokens(given), ""
        prompt = self.prompt(question, given, system)
        for step in self._generate([prompt], temperature, [(seed, 0)], limit):
            tokens += [token for token in step if token is not None]
            text = self._text(tokens)
            if not text.endswith("\ufffd"):  # the first bytes of a letter
                yield text[len(told) :]
                told = text
        if (text := self._text(tokens)) != told:
            yield text[len(told) :]

    def log_probabilities(self, rows: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return log p(answer | question) of each row ``(question, answer)``, (N,); the end mark counts, too."""
        return self._score(rows)

    def token_counts(self, rows: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return how many tokens :meth:`log_probabilities` adds up for each row, (N,)."""
        return np.array([len(self.answer_tokens(answer)) for _, answer in rows])

    @torch.inference_mode()
    def _score(self, rows) -> np.ndarray:
        prompts = [self.prompt(question) for question, _ in rows]
        answers = [self.answer_tokens(answer) for _, answer in rows]
        lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        sums, counts = np.zeros(len(rows)), np.array([len(answer) for answer in answers])
        vocabulary = self.model.config.vocab_size
        while order:
            size = max(1, min(CHUNK, SCORES // vocabulary) // lengths[order[-1]])
            places, order = order[-size:], order[:-size]
            tokens, mask = self._padded([prompts[place] + answers[place] for place in places])
            kept = (
                max(counts[places]) + 1
            )  # the last positions, in which all answers and what precedes them are
            logits = self._forward(tokens, mask, logits_to_keep=int(kept)).logits[:, :-1].float()
            targets = tokens[:, -logits.shape[1] :]
            losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").cpu().numpy()
            for place, row in zip(places, losses, strict=True):
                sums[place] = -row[len(row) - counts[place] :].sum()
        return sums

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows of tokens filled up on their left, and 1 where there is a token."""
        width = max(map(len, rows))
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for number, row in enumerate(rows):
            tokens[number, width - len(row) :] = torch.tensor(row)
            mask[number, width - len(row) :] = 1
        return tokens.to(self.model.device), mask.to(self.model.device)

    def _forward(self, tokens, mask, **options):
        new, known = tokens.shape[1], mask.shape[1]
        places = (mask.cumsum(1) - 1).clamp(min=0)[:, -new:]
        if self.model.config.model_type == "llama" and not mask.all():
            # Who sees whom: the library would work it out from the mask, in over half of a small model's time.
            before = torch.ones(new, known, dtype=torch.bool, device=mask.device).tril(known - new)
            mask = before & mask[:, None, None].bool()
        return self.model(input_ids=tokens, attention_mask=mask, position_ids=places, **options)

    @torch.inference_mode()
    def _generate(self, prompts, temperature, seeds, limit) -> Iterator[list[int | None]]:
        """Yield the next token of every prompt, ``None`` for those whose answers have ended."""
        tokens, mask = self._padded(prompts)
        drawing = [np.random.default_rng(seed) for seed in seeds]
        going, cache = [True] * len(prompts), None
        for _ in range(min(limit, self.context - mask.shape[1])):
            found = self._forward(tokens, mask, past_key_values=cache, use_cache=True, logits_to_keep=1)
            scores, cache = found.logits[:, -1].float().cpu().numpy(), found.past_key_values
            if temperature:
                noise = np.stack([random.gumbel(size=scores.shape[1]) for random in drawing])
                scores = scores / temperature + noise
            chosen = scores.argmax(1).tolist()
            going = [go and token not in self.stops for go, token in zip(going, chosen, strict=True)]
            if not any(going):
                return
            yield [token if go else None for token, go in zip(chosen, going, strict=True)]
            tokens = torch.tensor(chosen, device=mask.device)[:, None]
            mask = functional.pad(mask, (0, 1), value=1)

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def load(name: str | Path) -> Bot:
    """Return a bot, ready to answer.

    Args:
        name: ``world``, ``smollm2``, a folder, or a name of the hub. An adapter is added to its base's weights.

    Raises:
        StudyError: if there is none, or it cannot be read.
    """
    name = str(name)
    if name == WORLD:
        model, tokenizer = _world()
    elif name == PACKAGED:
        model, tokenizer = _packaged()
    else:
        where = _folder(name)
        model, tokenizer = _adapted(where) if (where / ADAPTER).is_file() else _whole(where)
    transformers.logging.set_verbosity_error()
    model.name_or_path = ""  # PEFT would ask the hub about it at every checkpoint.
    return Bot(model.eval().to(device()), tokenizer, name)


def device() -> str:
    """Return where models compute: a GPU only if ``TF_STUDY_DEVICE`` or the full profile asks for one."""
    return "cuda" if environment.device() == "gpu" and torch.cuda.is_available() else "cpu"


def base_of(folder: Path) -> str:
    """Return what :func:`load` makes of an adapter's base; a folder is named as seen from the adapter's.

    Raises:
        StudyError: if the adapter's card is damaged.
    """
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
        beside = (folder / base).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{folder / ADAPTER}의 내용이 깨졌으니 원본을 복사하거나 다시 학습하세요.") from None
    return base if base in (WORLD, PACKAGED) or not beside.is_dir() else os.path.relpath(beside)


def _world():
    from tf_study import manners

    model, tokenizer = manners.to_transformers(manners.load())
    tokenizer.chat_template = WORLD_TEMPLATE
    return model, tokenizer


def _packaged():
    from tf_study.models.llama import hf_sizes
    from tf_study.pretrained import smol

    config, state, tokenizer = smol.smollm2()
    card = transformers.LlamaConfig(
        **hf_sizes(config),
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with accelerate.init_empty_weights():
        model = transformers.LlamaForCausalLM(card)
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    return model, tokenizer


def _folder(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise StudyError(
            f"모델 폴더 {name}이(가) 없으니 경로를 확인하거나 {WORLD}, {PACKAGED} 가운데 고르세요."
        )
    import huggingface_hub

    try:
        wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt"]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError) as error:  # The network's errors and the hub's own are of these kinds.
        raise StudyError(
            f"{name} 폴더가 없고 허브에서도 받지 못했으니({type(error).__name__}) 이름과 인터넷 연결을 확인하세요."
        ) from error


def _whole(folder: Path):
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16 if device() == "cuda" else torch.float32
        )
        return model, transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the library raises errors of every kind for damaged files
        raise StudyError(
            f"{folder}의 모델을 읽을 수 없으니 Hugging Face 형식의 폴더인지 확인하거나 다시 받으세요 "
            f"({type(error).__name__})."
        ) from error


def _adapted(folder: Path):
    import peft

    base = load(base_of(folder))
    try:
        model = peft.PeftModel.from_pretrained(base.model, folder).merge_and_unload()
    except Exception as error:  # as above
        raise StudyError(
            f"{folder}의 어댑터를 {base.name}에 더할 수 없으니 그때의 모델인지 확인하세요 ({type(error).__name__})."
        ) from error
    return model, base.tokenizer
