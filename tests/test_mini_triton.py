"""Triton's semantics in NumPy: closed counts, refusals, and the bits of Triton's interpreter and of lecture 11.3."""

from __future__ import annotations  # the annotations of the kernels are read by Triton and by nobody else

import ast
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tf_study import curriculum, mini_triton, notebooks, triton_tools
from tf_study.errors import StudyError

tl = mini_triton.language
needs_triton = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "triton"))), reason="triton이 없습니다."
)
LECTURE = curriculum.ROOT / "chapter11_custom_kernels" / "03_triton_kernel_programming.ipynb"


def add(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    tl.store(out + offs, tl.load(x + offs, mask) + tl.load(y + offs, mask), mask)


def softmax_dropout(x, out, cols, seed, p, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, offs < cols, -float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    keep = tl.rand(seed, row * cols + offs) >= p
    tl.store(out + row * cols + offs, tl.where(keep, e / tl.sum(e, 0) / (1 - p), 0.0), offs < cols)


def four_a_call(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr, ROUNDS: tl.constexpr):
    row = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, offs < cols, -float("inf")) * 1.4426950408889634
    e = tl.exp2(v - tl.max(v, 0))
    a, b, c, d = tl.randint4x(seed, row * (BLOCK // 4) + tl.arange(0, BLOCK // 4), ROUNDS)
    bits = tl.cast(tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,)), tl.uint32, bitcast=True)
    y = tl.where(bits >= tl.cast(threshold, tl.uint32), e * (scale / tl.sum(e, 0)), 0.0)
    tl.store(out + row * cols + offs, y, offs < cols)


def weave(x, y, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    both = tl.interleave(tl.load(x + offs), tl.load(y + offs))
    tl.store(out + tl.arange(0, 2 * BLOCK), both)


def matmul_pointers(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rm = (tl.program_id(0) * BM + tl.arange(0, BM))[:, None]
    rn = (tl.program_id(1) * BN + tl.arange(0, BN))[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        rk = k + tl.arange(0, BK)
        row, col = rk[None, :], rk[:, None]
        left = tl.load(a + rm * K + row, (rm < M) & (row < K), 0.0)
        right = tl.load(b + col * N + rn, (col < K) & (rn < N), 0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    tl.store(c + rm * N + rn, acc, (rm < M) & (rn < N))


def matmul_descriptors(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    left = tl.make_tensor_descriptor(a, [M, K], [K, 1], [BM, BK])
    right = tl.make_tensor_descriptor(b, [K, N], [N, 1], [BK, BN])
    out = tl.make_tensor_descriptor(c, [M, N], [N, 1], [BM, BN])
    i, j = tl.program_id(0) * BM, tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(left.load([i, k]), right.load([k, j]), acc, input_precision="ieee")
    out.store([i, j], acc)


def numbers(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def empty(*shape):
    return np.zeros(shape, "float32")


TILE = {"BM": 16, "BN": 16, "BK": 16}
SEED = 0x123456789ABCDEF
CASES = (
    (add, (4,), (numbers(1000), numbers(1000) ** 2, empty(1000), 1000), {"BLOCK": 256}),
    (softmax_dropout, (2,), (numbers(2, 1000), empty(2, 1000), 1000, SEED, 0.1), {"BLOCK": 1024}),
    (
        softmax_dropout,
        (3,),
        (numbers(3, 5), empty(3, 5), 5, 7, 0.6),
        {"BLOCK": 8},
    ),  # 1 - 0.6 is another number in float32
    (
        four_a_call,
        (2,),
        (numbers(2, 1000), empty(2, 1000), 1000, 9, 429496730, 1 / 0.9),
        {"BLOCK": 1024, "ROUNDS": 7},
    ),
    (weave, (1,), (numbers(64), numbers(64) ** 2, empty(128)), {"BLOCK": 64}),
    (matmul_pointers, (4, 3), (numbers(50, 37), numbers(37, 45), empty(50, 45), 50, 45, 37), TILE),
    (matmul_descriptors, (4, 3), (numbers(50, 36), numbers(36, 44), empty(50, 44), 50, 44, 36), TILE),
)


MATMUL = next(case for case in CASES if case[0] is matmul_pointers)
REFUSED = (  # in the words of Triton's interpreter
    (add, (1,), (*CASES[0][2][:3], 5), {"BLOCK": 5}, "arange's range must be a power of 2"),
    (matmul_descriptors, (4, 3), MATMUL[2], TILE, "stride must be 16-byte aligned"),  # rows of 37 numbers
)


def outputs(launch, cases):
    """Run the cases on copies and return all arrays afterwards."""
    found = []
    for kernel, grid, args, constants in cases:
        args = [value.copy() if isinstance(value, np.ndarray) else value for value in args]
        launch(kernel, grid, *args, **constants)
        found += [value for value in args if isinstance(value, np.ndarray)]
    return found


def same_bits(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.view("u4"), b.view("u4"))


def child(path):
    """Save what Triton's interpreter makes of the cases; runs in a process that has the variables for it."""
    import triton.language

    globals()["tl"] = triton.language
    for kernel, grid, args, constants, message in REFUSED:
        with pytest.raises(Exception, match=message):
            triton_tools.interpret(kernel, grid, *args, **constants)
    results = [triton_tools.interpret(kernel, grid, *args, **c) for kernel, grid, args, c in CASES]
    arrays = [value for args in results for value in args if isinstance(value, np.ndarray)]
    np.savez(path, *arrays)


@needs_triton
def test_every_bit_is_that_of_tritons_interpreter(tmp_path):
    env = {**os.environ, "TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(curriculum.ROOT), str(curriculum.ROOT / "tests")])
    code = f"import test_mini_triton; test_mini_triton.child({str(tmp_path / 'found.npz')!r})"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    with np.load(tmp_path / "found.npz") as found:
        same_bits(outputs(mini_triton.launch, CASES), [found[name] for name in found.files])


def lecture_version():
    """Return the functions and the namespace that lecture 11.3 builds, without running its experiments."""
    wanted = {"Pointer", "access", "load", "store", "arange", "launch", "TensorDescriptor", "philox"}
    wanted |= {"randint4x", "rand", "grouped", "mini", "LOW", "HALF"}
    names = {"np": np, "SimpleNamespace": SimpleNamespace, "FunctionType": type(add)}
    for cell in notebooks.read(LECTURE).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            targets = [node] if hasattr(node, "name") else getattr(node, "targets", [])
            if isinstance(node, ast.For) and "setattr" in ast.unparse(node):
                targets = [ast.Name("mini")]
            for target in targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    name = getattr(part, "name", ast.unparse(part).split(".")[0])
                    if name in wanted:
                        exec(ast.unparse(node), names)
                        break
    return SimpleNamespace(**names)


def test_the_lecture_builds_the_same():
    lecture = lecture_version()
    cases = [
        case for case in CASES if case[0] not in (four_a_call, weave)
    ]  # join, cast and interleave are not in it
    same_bits(outputs(lecture.launch, cases), outputs(mini_triton.launch, cases))
    for kernel, grid, args, constants in cases:
        assert lecture.launch(kernel, grid, *args, **constants) == mini_triton.launch(
            kernel, grid, *args, **constants
        )
    places = np.arange(77)
    ours = mini_triton.swizzle2d(places // 11, places % 11, 7, 11, 3)
    np.testing.assert_array_equal(lecture.grouped(places, 7, 11, 3), ours)


def test_bytes_are_those_of_the_closed_formula():
    moved = mini_triton.launch(*MATMUL[:2], *MATMUL[2], **MATMUL[3])
    assert moved == {"load": 4 * 37 * (50 * 3 + 45 * 4), "store": 4 * 50 * 45}


def test_philox_gives_the_published_words():
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    known = {
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8": ((0,) * 4, (0, 0)),
        "408f276d 41c83b0e a20bc7c6 6d5451fd": ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2),
        "d16cfe09 94fdcceb 5001e420 24126ea1": pi,
    }
    for words, case in known.items():
        assert " ".join(f"{word:08x}" for word in mini_triton.philox(*case)) == words


def test_what_triton_refuses_and_what_lies_outside_is_named():
    def copy(x, out, BLOCK: tl.constexpr):
        offs = tl.arange(0, BLOCK)
        tl.store(out + offs, tl.load(x + offs, offs < 5))

    with pytest.raises(IndexError, match="store at 5 of an array of 5"):
        mini_triton.launch(copy, (1,), numbers(5), empty(5), BLOCK=8)
    for kernel, grid, args, constants, message in REFUSED:
        with pytest.raises((ValueError, AssertionError), match=message):
            mini_triton.launch(kernel, grid, *args, **constants)


@pytest.mark.parametrize("value", [[1.0, 2.0], empty(4, 4)[:, ::2]])
def test_what_no_kernel_can_take_is_refused(value):
    with pytest.raises(StudyError, match="넘기세요"):
        mini_triton.launch(add, (1,), value, numbers(8), empty(8), 8, BLOCK=8)


def test_another_process_sees_a_gpu_only_if_asked(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('TRITON_INTERPRET'))"
    assert triton_tools.run(script).split() == ["None"]
    assert triton_tools.run(script, gpu=True).split() == ["3", "None"]


@needs_triton
def test_a_kernel_compiles_without_a_gpu(tmp_path):
    source = "import triton.language as tl\n\ndef double(x, n, BLOCK: tl.constexpr):\n"
    source += (
        "    offs = tl.arange(0, BLOCK)\n    tl.store(x + offs, 2 * tl.load(x + offs, offs < n), offs < n)\n"
    )
    source += "\n\ndef clear(x):\n    tl.store(x, 0.0)\n"
    (tmp_path / "kernels.py").write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("kernels", tmp_path / "kernels.py")
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    types = {"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    plain, hinted = triton_tools.compile(kernels.double, types, {"BLOCK": 1024}, [(), ("x", "n")])
    assert plain.instructions["LDG.E"] == 8 and hinted.instructions["LDG.E.128"] == 2
    assert "sizePerThread = [4]" in hinted.ttgir and hinted.registers > 8 and hinted.shared == 0
    jobs = [triton_tools.Job(kernels.clear, {"x": "*fp32"}, {})]
    jobs.append(triton_tools.Job(kernels.double, types, {"BLOCK": 512}, ("x", "n"), warps=2))
    one, other = triton_tools.compile_all(jobs)
    assert one.instructions["STG.E"] == 1 and other.instructions["LDG.E.128"] == 2
    with pytest.raises(StudyError, match="고치세요"):
        triton_tools.run("raise ValueError('이런')")
