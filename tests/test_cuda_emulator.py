"""The emulator runs CUDA C++ as a GPU would, and says of wrong code where and why; Python survives it."""

import platform

import numpy as np
import pytest

import cuda_sources
from tf_study import cuda
from tf_study.errors import StudyError

pytestmark = pytest.mark.skipif(not cuda.available(), reason="C++ 컴파일러가 없습니다.")
EMULATOR = {"backend": "emulator"}
ORDERS = (0, -1, 1, 2, 3)
SIZES = ((1, 256), (255, 256), (256, 256), (257, 256), (1000, 33), (1_000_000, 256))


@pytest.fixture(scope="module")
def vector_add():
    return cuda.build(cuda_sources.VECTOR_ADD, **EMULATOR)


@pytest.fixture(scope="module")
def misdeeds():
    program = cuda.build(MISDEEDS, **EMULATOR)
    program.seconds = 0.2
    return program


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def verdict(source: str) -> tuple[bool, list[int], int, int, str]:
    """Run a vector_add as the practice does: right?, codes, code of 2,048 threads, leaks, the first message."""
    program, codes, right, message = cuda.build(source, **EMULATOR), [], True, ""
    for n, threads in SIZES:
        a, b, c = random(n), random(n)[::-1].copy(), np.full(n, 123, "float32")
        codes.append(program.vector_add(a, b, c, n, threads))
        right &= bool(np.array_equal(c, a + b))
        message = message or program.message
    refused = program.vector_add(a, b, c, n, 2048)
    leaks = program.allocations
    program.reset()
    return right, codes, refused, leaks, message


def test_unchanged_cuda_adds_vectors_of_every_size(vector_add):
    assert verdict(cuda_sources.VECTOR_ADD) == (True, [0] * len(SIZES), 9, 0, "")
    assert vector_add.backend == "emulator" and vector_add.names == (("vector_add",), ("add",))


V = cuda_sources.VECTOR_ADD
WRONG = {
    "block ignored": (V.replace("blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x"), 0, ""),
    "grid rounded down": (V.replace("(n + threads - 1) / threads", "n / threads"), 9, "그리드 (0, 1, 1)"),
    "no bound": (V.replace("if (i < n) ", ""), 700, "4바이트 할당의 바깥(바이트 위치"),
    "one too many": (V.replace("i < n", "i <= n"), 700, "할당의 바깥(바이트 위치 4)"),
    "no copy back": (V.replace("  cudaMemcpy(c, dc, bytes, cudaMemcpyDeviceToHost);\n", ""), 0, ""),
    "host pointers": (V.replace(">>>(da, db, dc, n)", ">>>(a, b, c, n)"), 700, "호스트 메모리의 포인터"),
    "direction": (
        V.replace("da, a, bytes, cudaMemcpyHostToDevice", "da, a, bytes, cudaMemcpyDeviceToHost"),
        1,
        "방향",
    ),
    "elements allocated": (V.replace("cudaMalloc(&da, bytes)", "cudaMalloc(&da, n)"), 1, "바이트 수"),
    "elements copied": (V.replace("cudaMemcpy(c, dc, bytes", "cudaMemcpy(c, dc, n"), 0, ""),
    "swapped": (
        V.replace("<<<(n + threads - 1) / threads, threads>>>", "<<<threads, (n + threads - 1) / threads>>>"),
        0,
        "1024",
    ),
    "subtraction": (V.replace("a[i] + b[i]", "a[i] - b[i]"), 0, ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_vector_adds_are_found_out(name):
    source, code, said = WRONG[name]
    assert source != V
    right, codes, _, leaks, message = verdict(source)
    assert not right and codes[0] == code and said in message and (leaks == 0 or code == 1)


def test_a_leak_and_an_ignored_error_are_seen():
    right, _, _, leaks, _ = verdict(V.replace("cudaFree(da), cudaFree(db), cudaFree(dc);", ""))
    assert right and leaks == 3 * len(SIZES) + 3
    right, _, refused, _, _ = verdict(V.replace("return error ? error : cudaGetLastError();", "return 0;"))
    assert right and refused == 0


def test_a_missing_bound_names_thread_block_and_byte():
    program = cuda.build(V.replace("if (i < n) ", ""), **EMULATOR)
    a = random(1000)
    assert program.vector_add(a, a, a.copy(), 1000, 256) == 700
    assert program.message == (
        "블록 3의 스레드 232가 4000바이트 할당의 바깥(바이트 위치 4000)을 읽거나 썼으니, 인덱스를 원소 수와 비교하는"
        " 조건을 확인하세요."
    )
    assert program.allocations == 0  # The host's code went on to its end.
    assert (
        program.vector_add(a, a, a.copy(), 0, 256) == 9 and program.vector_add(a, a, a.copy(), 512, 256) == 0
    )
    assert program.message == ""


MISDEEDS = r"""
#include <cuda_runtime.h>
#include <cstdio>
#include <vector>
__global__ void forever(float* x) { while (true) x[0] += 1; }
__global__ void spin(volatile int* flag) {
  if (threadIdx.x == 0) { while (*flag == 0) {} } else *flag = 1;
}
__global__ void barriers(float* x) { while (true) __syncthreads(); }
__global__ void wild(float* x, long far) { x[far] = 1; }
__global__ void divide(int* x, int d) { x[0] = x[0] / d; }
__global__ void big_local(int* x, int n) { volatile int big[200000]; big[n] = 1; x[0] = big[n]; }
__global__ void edge(char* x, int at) { x[at] = 1; }
__global__ void branch(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  x[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void outside_mask(float* x) { x[threadIdx.x] = __shfl_sync(0xffff, x[threadIdx.x], 0); }
__global__ void too_much() { __shared__ float s[13000]; s[0] = 1; }
__global__ void unset(float* x) { __shared__ float s[64]; x[threadIdx.x] += s[threadIdx.x]; }
__global__ void hello() { printf("%d.%d ", blockIdx.x, threadIdx.x); }
extern "C" int host_reads_device() { float* d; cudaMalloc(&d, 64); float x = d[0]; cudaFree(d); return x > 0; }
extern "C" int host_null(int n) { int* p = nullptr; std::vector<int> v(n); return v[0] + *(volatile int*)p; }
extern "C" int host_forever() { volatile int i = 0; while (true) i = i + 1; return 0; }
extern "C" int free_twice() { float* d; cudaMalloc(&d, 64); cudaFree(d); return cudaFree(d); }
extern "C" int empty_block() { hello<<<1, 0>>>(); return cudaGetLastError(); }
extern "C" double half(double x, bool up) { return up ? x + 0.5 : x - 0.5; }
extern "C" { int in_block(int a, float b) { return a + int(b); } }
"""
FAULTS = {
    "forever": ((1, 1, np.ones(1, "float32")), "CPU 시간 0.2초 안에 끝나지 않아 멈췄으니(블록 0의 스레드 0)"),
    "spin": ((1, 2, np.zeros(1, "int32")), "서로 기다리는 스레드"),
    "barriers": ((2, 64, np.ones(1, "float32")), "끝나지 않는 반복"),
    "wild": (((2, 2), (4, 4), np.ones(9, "float32"), 10**12), "블록 (0, 0)의 스레드 (0, 0)이 잘못된 주소"),
    "big_local": ((1, 3, np.ones(1, "int32"), 0), "스택이 넘쳤으니"),
    "edge": ((1, 1, np.zeros(13, "int8"), 13), "13바이트 할당의 바깥(바이트 위치 13)에 썼으니"),
    "branch": (
        (2, 64, np.ones(64, "float32")),
        "블록 0의 스레드가 서로 다른 곳에서 기다려 멈췄으니(스레드 0부터는 18번째 줄의 __syncthreads(), 스레드 32부터는"
        " 20번째 줄의 __syncthreads())",
    ),
    "outside_mask": (
        (1, 32, np.ones(32, "float32")),
        "블록 0의 스레드 16이 부른 워프 연산의 마스크 0xffff에 그 스레드의 레인 16이 없으니",
    ),
    "too_much": ((1, 1), "49152바이트를 넘으니"),
}


@pytest.mark.parametrize("kernel", FAULTS)
def test_a_kernel_that_fails_is_told_and_survived(misdeeds, kernel):
    arguments, said = FAULTS[kernel]
    with pytest.raises(StudyError) as error:
        misdeeds.launch(kernel, *arguments)
    assert said in str(error.value) and misdeeds.message == str(error.value) and misdeeds.allocations == 0
    x = np.zeros(64, "float32")
    misdeeds.launch("unset", 1, 64, x)  # The next call is a fresh one, and shared memory holds no zeros.
    assert np.isnan(x).all() and misdeeds.message == ""


def test_a_write_before_an_allocation_is_seen(misdeeds):
    with pytest.raises(StudyError, match=r"바이트 위치 -12\)에 썼으니"):
        misdeeds.launch("wild", 1, 1, np.ones(64, "float32"), -3)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="arm64의 나눗셈은 0으로 나누면 0을 냅니다."
)
def test_a_division_by_zero_is_told(misdeeds):
    with pytest.raises(StudyError, match="블록 0의 스레드 0이 정수를 0으로 나눴으니"):
        misdeeds.launch("divide", 1, 1, np.ones(1, "int32"), 0)


def test_host_code_that_crashes_is_survived(misdeeds):
    with pytest.raises(StudyError, match="장치 메모리를 직접 읽거나 썼으니"):
        misdeeds.host_reads_device()
    assert misdeeds.allocations == 1
    misdeeds.reset()
    assert misdeeds.allocations == 0
    with pytest.raises(StudyError, match="호스트 코드가 잘못된 주소"):
        misdeeds.host_null(3)
    with pytest.raises(StudyError, match="호스트 코드가 CPU 시간 0.2초"):
        misdeeds.host_forever()
    assert misdeeds.free_twice() == 1 and "두 번 해제" in misdeeds.message
    assert misdeeds.empty_block() == 9


def test_what_a_kernel_prints_is_the_cells_output(misdeeds, capfd):
    misdeeds.launch("hello", 2, 2)
    assert capfd.readouterr().out == "0.0 0.1 1.0 1.1 "


def test_arguments_are_checked_against_the_declaration(misdeeds, vector_add):
    assert misdeeds.half(2, True) == 2.5 and misdeeds.half(np.float64(2), up := False) == 1.5 and not up
    assert misdeeds.in_block(3, 4.5) == 7  # Not seen by the translator: the types are guessed.
    a, frozen = random(4), random(4)
    frozen.flags.writeable = False
    cases = {
        "인수는 2개인데 1개": lambda: misdeeds.half(2.0),
        "float64이어야 하는데 str": lambda: misdeeds.half("a", True),
        "bool이어야 하는데 int": lambda: misdeeds.half(1.0, 1),
        "int32의 범위를 벗어나니": lambda: misdeeds.host_null(2**31),
        "int32이어야 하는데 float": lambda: misdeeds.host_null(1.5),
        "float32 배열이어야 하는데 float64": lambda: vector_add.vector_add(a, a.astype(float), a, 4, 32),
        "이어져 있지 않은": lambda: vector_add.vector_add(a, np.stack([a, a], 1)[:, 0], a, 4, 32),
        "NumPy 배열이어야 하는데 list": lambda: vector_add.vector_add(a, [1.0], a, 4, 32),
        "쓸 수 없는 배열": lambda: vector_add.vector_add(a, frozen, frozen, 4, 32),
        "있는 함수: vector_add": lambda: vector_add.vector_sub(a),
        "있는 커널: add": lambda: vector_add.launch("sub", 1, 1),
        "grid은": lambda: vector_add.launch("add", (1, 1, 1, 1), 1, a, a, a, 4),
    }
    for said, call in cases.items():
        with pytest.raises(StudyError, match=said):
            call()


def test_a_kernel_alone_writes_only_what_is_not_const(vector_add):
    a, b, c = random(100), random(100), np.zeros(100, "float32")
    vector_add.launch("add", 4, 32, a, b, c, 100)
    assert np.array_equal(c, a + b) and np.array_equal(a, random(100))
    vector_add.launch("add", 4, 32, a, a, a, 100)  # One array is one allocation.
    assert np.array_equal(a, 2 * b)


@pytest.fixture(scope="module")
def matmul():
    return cuda.build(cuda_sources.MATMUL, kernels=cuda_sources.TILED, **EMULATOR)


def product_error(program, kernel: str, order: int) -> float:
    a, b = random(2, 64, 64)
    c = np.empty_like(a)
    with program.schedule(order):
        program.launch(kernel, (4, 4), (16, 16), a, b, c, 64)
    return float(np.abs(c - a @ b).max())


def test_a_right_kernel_is_right_in_every_order_and_one_without_its_barrier_is_not(matmul):
    right, wrong = cuda_sources.TILED
    assert max(product_error(matmul, right, order) for order in ORDERS) < 1e-4
    assert max(product_error(matmul, wrong, order) for order in ORDERS) > 1
    assert (
        product_error(matmul, wrong, 1) == product_error(matmul, wrong, 1) != product_error(matmul, wrong, 2)
    )


def test_reductions_in_every_order():
    program, x = cuda.build(cuda_sources.REDUCE, **EMULATOR), random(4, 256)
    for kernel in ("interleaved", "strided", "sequential", "shuffled", "atomic", "last_warp"):
        for order in ORDERS:
            out = np.zeros(4, "float32")
            with program.schedule(order):
                program.launch(kernel, 4, 256, x, out, shared=1024)
            if kernel == "atomic":
                assert abs(out[0] - x.sum()) < 1e-4
            else:
                assert np.allclose(out, x.sum(axis=1), atol=1e-4) == (kernel != "last_warp"), (kernel, order)


WARPS = r"""
namespace { constexpr unsigned ALL = 0xffffffff; }
__constant__ float table[4];
template <class T> struct Pair { T a, b; };
__device__ __noinline__ float root(float x) { return rsqrtf(x); }
__global__ void warps(int* x) {
  int lane = threadIdx.x, v = lane;
  if (lane < 16) v = __shfl_xor_sync(0xffff, v, 1);  // half a warp, then all of it
  x[lane] = __shfl_sync(ALL, v, 0);
  x[32 + lane] = __shfl_up_sync(ALL, lane, 1);
  x[64 + lane] = __shfl_down_sync(ALL, lane, 2, 8);
  x[96 + lane] = __ballot_sync(ALL, lane % 3 == 0);
  x[128 + lane] = __any_sync(ALL, lane == 7) + 2 * __all_sync(ALL, lane < 31);
  __syncwarp();
  x[160 + lane] = int(__shfl_xor_sync(ALL, double(lane), 16));
}
__global__ void atomics(unsigned* x) {
  unsigned t = threadIdx.x;
  atomicAdd(x, 2), atomicMax(x + 1, t), atomicExch(x + 2, 5u), atomicOr(x + 3, 1u << t % 32), atomicCAS(x + 4, 0u, t + 1);
  __shared__ unsigned low, many[2][3];  // "__shared__ int in_a_comment;"
  if (t == 0) low = 99, many[1][2] = 7;
  __syncthreads();
  atomicMin(&low, t + many[1][2]);
  __syncthreads();
  x[5] = min(low, 100), x[6] = max(1u, 3);
}
__global__ void constants(float* x, int3* y, Pair<float>* p) {
  x[threadIdx.x] = table[threadIdx.x] + root(4.0f) + __expf(0) + __ldg(table);
  y[threadIdx.x] = make_int3(blockDim.x, gridDim.y, warpSize);
  p[threadIdx.x] = {float(blockIdx.y), float(threadIdx.z)};
}
extern "C" int all(int* w, unsigned* a, float* c, int* i, float* p) {
  const char* text = "k<<<1, 2>>>(x) // not a comment";
  float host[4] = {1, 2, 3, 4};
  cudaMemcpyToSymbol(table, host, sizeof host);
  int* dw; unsigned* da; float *dc, *dp; int3* di;
  cudaMalloc(&dw, 768), cudaMallocManaged(&da, 32), cudaMalloc(&dc, 16), cudaMalloc(&di, 48), cudaMalloc(&dp, 32);
  cudaMemset(dc, 0, 16), memset(da, 0, 32);
  warps<<<dim3(1), dim3(32, 1), 0, nullptr>>>(dw);
  atomics<<<2, 64>>>(da);
  constants<<<
      dim3(1, 2), 4
  >>>(dc, di, (Pair<float>*)dp);
  cudaDeviceSynchronize();
  cudaMemcpy(w, dw, 768, cudaMemcpyDeviceToHost), memcpy(a, da, 32);
  cudaMemcpyAsync(c, dc, 16, cudaMemcpyDefault), cudaMemcpy(i, di, 48, cudaMemcpyDeviceToHost);
  cudaMemcpy(p, dp, 32, cudaMemcpyDeviceToHost);
  cudaFree(dw), cudaFree(da), cudaFree(dc), cudaFree(di), cudaFree(dp);
  return cudaGetLastError() + strlen(cudaGetErrorString(cudaSuccess)) + text[1] - '<' - 8;
}
"""


@pytest.mark.parametrize("order", ORDERS)
def test_warps_atomics_and_constants(order):
    program = cuda.build(WARPS, **EMULATOR)
    w, a, c, i, p = (np.zeros(n, t) for n, t in ((192, "i4"), (8, "u4"), (4, "f4"), (12, "i4"), (8, "f4")))
    with program.schedule(order):
        assert program.all(w, a, c, i, p) == 0, program.message
    lane = np.arange(32)
    w = w.reshape(6, 32)
    assert (w[0] == 1).all() and (w[1] == np.maximum(lane - 1, 0)).all() and (w[4] == 1).all()
    assert (w[2] == np.where(lane % 8 < 6, lane + 2, lane)).all() and (w[5] == lane ^ 16).all()
    assert (w[3].view("u4") == sum(1 << int(k) for k in lane if k % 3 == 0)).all()
    assert list(a[:4]) == [256, 63, 5, 2**32 - 1] and 1 <= a[4] <= 64 and list(a[5:7]) == [7, 3]
    assert list(c) == [3.5, 4.5, 5.5, 6.5] and (p.reshape(4, 2)[:, 1] == 0).all()
    assert (i.reshape(4, 3) == [4, 2, 32]).all() and program.allocations == 0
