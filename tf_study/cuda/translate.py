"""Rewrites a CUDA C++ source for :file:`emulator.h`; lines keep their numbers.

Three things of CUDA are no C++: ``kernel<<<grid, block>>>(…)``, ``__shared__`` variables and
``extern __shared__`` arrays. A few regular expressions find them in the source without its comments and strings.
"""

import collections
import re
from typing import NamedTuple

from tf_study.errors import StudyError

_QUIET = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", re.S)
_LAUNCH = re.compile(r"((?:\w+\s*::\s*)*\w+(?:\s*<[^<>;]*>)?)\s*<<<(.*?)>>>\s*\(", re.S)
_DYNAMIC = re.compile(
    r"\bextern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([^;\[]+?)\s*\b(\w+)\s*\[\s*\]\s*;"
)
_SHARED = re.compile(
    r"(?:\bstatic\s+)?\b__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?"
    r"((?:(?:volatile|unsigned|signed|long|short|struct)\s+)*(?:\w+::)*\w+(?:<[^;<>]*>)?)\s+([^;]+);"
)
_INCLUDE = re.compile(
    r'^[ \t]*#[ \t]*include[ \t]*[<"](cuda_runtime(?:_api)?|device_launch_parameters|cuda)\.h[>"]', re.M
)
_KERNEL = re.compile(
    r"((?:\btemplate\s*<[^;{}()]*>\s*)?)((?:\b\w+\s+|\bextern\s*\"C\"\s*)*)\b__global__\s+void\s+"
    r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^;{}]*?)\)\s*\{"
)
_HOST = re.compile(r"\bextern\s*\"C\"\s+(?!\{)([^;{}()=]*?)\b(\w+)\s*\(([^;{}]*?)\)\s*\{")
_REFUSED = {
    r"\bcooperative_groups\b": "cooperative_groups",
    r"\b(?:nvcuda\s*::\s*)?wmma\b": "wmma(텐서 코어)",
    r"\basm\s*(?:volatile\s*)?\(": "인라인 PTX(asm)",
    r"\b__half2?\b|\bcuda_fp16\b": "__half",
    r"\b__nv_bfloat16\b|\bcuda_bf16\b": "__nv_bfloat16",
    r"\bcudaTextureObject_t\b|\btexture\s*<": "텍스처",
    r"\b__shfl(?:_up|_down|_xor)?\s*\(|\b__ballot\s*\(": "_sync가 없는 옛 워프 함수",
}


class Names(NamedTuple):
    """What Python can call in a source: ``extern "C"`` functions of the host, and kernels that are no templates."""

    hosts: tuple[str, ...]
    kernels: tuple[str, ...]


def bare(source: str) -> str:
    """Return the source with comments, strings and characters blanked; every position stays where it is.

    ``extern "C"`` keeps its string, which is part of the language.
    """

    def blank(match: re.Match) -> str:
        text = match[0]
        return text if text == '"C"' else re.sub(r"[^\n]", " ", text)

    return _QUIET.sub(blank, source)


def names(source: str) -> Names:
    """Return the names of the functions that can be called from Python."""
    code = bare(source)
    every = list(_KERNEL.finditer(code))
    count = collections.Counter(m[3] for m in every)  # an overloaded name says nothing alone
    kernels = [m[3] for m in every if not m[1] and count[m[3]] == 1 and _depth(code, m.start()) == 0]
    return Names(tuple(m[2] for m in _hosts(code)), tuple(kernels))


def emulated(source: str) -> str:
    """Return C++ that means the same with :file:`emulator.h`.

    Raises:
        StudyError: if the source uses a part of CUDA that the emulator lacks.
    """
    code = bare(source)
    for pattern, name in _REFUSED.items():
        if found := re.search(pattern, code):
            raise StudyError(
                f"CUDA 소스의 {_line(code, found.start())}번째 줄에 있는 {name}은(는) 에뮬레이터에 없으니, GPU와 nvcc가"
                ' 있는 곳에서 backend="nvcc"로 실행하거나 그 부분을 빼세요.'
            )
    edits = [
        (m.start(), m.end(), "") for m in _INCLUDE.finditer(source) if code[m.start() :].lstrip()[:1] == "#"
    ]
    # No macro: libc++ writes it inside __attribute__((…)).
    edits += [(*m.span(), "__attribute__((noinline))") for m in re.finditer(r"\b__noinline__\b", code)]
    dynamic = list(_DYNAMIC.finditer(code))
    for match in dynamic:
        kind, name = match[1].strip(), match[2]
        edits.append((*match.span(), f"{kind}* {name} = cuda_emulator::dynamic_shared<{kind}>();"))
    for match in _SHARED.finditer(code):
        if any(d.start() <= match.start() < d.end() for d in dynamic):
            continue
        edits.append((*match.span(), _declarations(code, match)))
    for match in _LAUNCH.finditer(code):
        kernel, start = match[1], match.start()
        edits.append(
            (start, match.start(2), f"cuda_emulator::launcher([&](auto... a) {{ {kernel}(a...); }}, ")
        )
        edits.append((match.end(2), match.end(), ")("))
    return _apply(source, edits)


def device_only(source: str) -> str:
    """Return the source without its ``extern "C"`` host functions and host headers, for a compiler of device code."""
    code = bare(source)
    edits = []
    for match in re.finditer(r"^[ \t]*#[ \t]*include\b[^\n]*", code, re.M):
        edits.append((*match.span(), ""))
    edits += [(m.start(), _closing(code, m.end() - 1), "") for m in _hosts(code)]
    return _apply(source, edits)


def _hosts(code: str) -> list[re.Match]:
    return [m for m in _HOST.finditer(code) if not re.search(r"__(global|device)__", m[1])]


def _declarations(code: str, match: re.Match) -> str:
    """Return what stands for one ``__shared__`` declaration, which may name several variables."""
    kind, parts = match[1], []
    line = _line(code, match.start())
    if _depth(code, match.start()) == 0:
        raise StudyError(
            f"CUDA 소스의 {line}번째 줄의 __shared__ 변수는 커널 밖에 있으니 커널 안으로 옮기세요."
        )
    for declarator in re.split(r",(?![^\[]*\])", match[2]):
        shape = re.fullmatch(r"\s*(\w+)\s*((?:\[[^\]]*\]\s*)*)", declarator)
        if shape is None:
            raise StudyError(
                f"CUDA 소스의 {line}번째 줄의 __shared__ 선언은 초깃값 없이 이름[크기]의 꼴이어야 하니 고치세요."
            )
        parts.append(f"auto& {shape[1]} = cuda_emulator::shared<{kind}{shape[2].strip()}, __COUNTER__>();")
    return " ".join(parts)


def _apply(source: str, edits: list[tuple[int, int, str]]) -> str:
    """Replace spans of the source; line ends inside a span stay, so that the lines keep their numbers."""
    out, done = [], 0
    for start, end, text in sorted(edits):
        lines = source.count("\n", start, end) - text.count("\n")
        out += [source[done:start], text, "\n" * lines]
        done = end
    return "".join(out) + source[done:]


def _line(code: str, position: int) -> int:
    return code.count("\n", 0, position) + 1


def _depth(code: str, position: int) -> int:
    """Return in how many braces a position lies; that of ``extern "C" {`` does not count."""
    stack = []
    for brace in re.finditer(r"[{}]", code[:position]):
        if brace[0] == "{":
            before = code[: brace.start()].rstrip()
            stack.append(re.search(r'extern\s*"C"$', before) is None)
        elif stack:
            stack.pop()
    return sum(stack)


def _closing(code: str, position: int) -> int:
    """Return the position after the brace that closes the one at ``position``."""
    depth = 0
    for brace in re.finditer(r"[{}]", code[position:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return position + brace.end()
    return len(code)
