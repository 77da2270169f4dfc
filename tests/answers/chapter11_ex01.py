"""Right and wrong answers to practice 11.1; those in CUDA C++ are functions that return their source."""

import math

import numpy as np

import cuda_sources
from answers import Answers

RIGHT, WRONG = Answers(), Answers()


def _edit(source: str, *changes: tuple[str, str]):
    """Return a function that returns the source with these changes, each of which must change it."""

    def answer():
        text = source
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return text

    return answer


def _right(problem: str, what: str, source: str) -> None:
    RIGHT.add(problem, _edit(source), what)


def _wrong(problem: str, what: str, source: str, *changes: tuple[str, str]) -> None:
    WRONG.add(problem, _edit(source, *changes), what)


# -- layout --------------------------------------------------------------------------------------------


@RIGHT("layout")
def layout_with_numpy(n, threads):
    """The remainder of minus n is what is missing."""
    blocks = -(-n // threads)
    return blocks, np.pad(np.arange(n), (0, -n % threads), constant_values=-1).reshape(blocks, threads)


@RIGHT("layout")
def layout_by_loops(n, threads):
    """Two loops, lists, a float division rounded up."""
    blocks = math.ceil(n / threads)
    index = [[b * threads + t for t in range(threads)] for b in range(blocks)]
    return [blocks, [[i if i < n else -1 for i in row] for row in index]]


def _layout(n, threads, blocks=None, formula=None, idle=lambda index, n: index >= n):
    blocks = (n + threads - 1) // threads if blocks is None else blocks(n, threads)
    b, t = np.arange(blocks)[:, None], np.arange(threads)
    index = b * threads + t if formula is None else formula(b, t, blocks, threads)
    return blocks, np.where(idle(index, n), -1, index)


RIGHT("layout")(_layout)
WRONG.add("layout", _layout, "round down", blocks=lambda n, threads: n // threads)
WRONG.add("layout", _layout, "one block too many", blocks=lambda n, threads: n // threads + 1)
WRONG.add("layout", _layout, "an element a block", blocks=lambda n, threads: n)
WRONG.add("layout", _layout, "a float", blocks=lambda n, threads: n / threads)
WRONG.add("layout", _layout, "forget the block", formula=lambda b, t, blocks, threads: t + 0 * b)
WRONG.add("layout", _layout, "blocks in turn", formula=lambda b, t, blocks, threads: t * blocks + b)
WRONG.add(
    "layout", _layout, "number of blocks as factor", formula=lambda b, t, blocks, threads: b * blocks + t
)
WRONG.add("layout", _layout, "no bound", idle=lambda index, n: index < 0)
WRONG.add("layout", _layout, "one too many", idle=lambda index, n: index > n)


@WRONG("layout")
def layout_index_only(n, threads):
    """Without the number of blocks."""
    return _layout(n, threads)[1]


@WRONG("layout")
def layout_transposed(n, threads):
    """Threads in rows."""
    blocks, index = _layout(n, threads)
    return blocks, index.T


# -- kernel --------------------------------------------------------------------------------------------

KERNEL = cuda_sources.ADD
_right("kernel", "a condition", KERNEL)
_right(
    "kernel",
    "an early return, other names, unsigned numbers",
    r"""#include <cuda_runtime.h>
__device__ float sum(float left, float right) { return left + right; }
__global__ void add(const float* __restrict__ left, const float* __restrict__ right, float* out, int count) {
  const unsigned me = threadIdx.x + blockDim.x * blockIdx.x;  // 이 스레드의 원소
  if (me >= unsigned(count)) return;
  out[me] = sum(left[me], right[me]);
}
""",
)
_right(
    "kernel",
    "a while loop over the grid",
    r"""
__global__ void add(const float *a, const float *b, float *c, int n)
{
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  while (i < n)
  {
    float x = a[i];
    x += b[i];
    c[i] = x;
    i += gridDim.x * blockDim.x;
  }
}
""",
)
for what, *change in (
    ("forget the block", "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x"),
    ("the number of blocks as factor", "blockIdx.x * blockDim.x", "blockIdx.x * gridDim.x"),
    ("always 256 threads", "blockDim.x", "256"),
    ("no bound", "if (i < n) ", ""),
    ("one too many", "i < n", "i <= n"),
    ("one too few", "i < n", "i < n - 1"),
    ("skip the first", "i < n", "i > 0 && i < n"),
    ("bound of the block", "i < n", "threadIdx.x < n"),
    ("subtraction", "a[i] + b[i]", "a[i] - b[i]"),
    ("add to what is there", "c[i] =", "c[i] +="),
    ("neighbours far apart", "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x * gridDim.x + blockIdx.x"),
    ("all elements in every thread", "if (i < n) ", "for (i = 0; i < n; i++) "),
    ("never ends", "if (i < n)", "while (i < n)"),
    ("another name", " add(", " vector_add("),
    ("a missing argument", ", int n", ""),
    ("a syntax error", "b[i];", "b[i]"),
    ("an unknown name", "a[i]", "A[i]"),
    ("a wild pointer", "c[i] =", "c[i + 1000000000000L] ="),
    ("a double array", "float* c", "double* c"),
):
    _wrong("kernel", what, KERNEL, tuple(change))


@WRONG("kernel")
def kernel_in_python():
    """A Python function instead of a source."""
    return lambda a, b: a + b


# -- host ----------------------------------------------------------------------------------------------

HOST = cuda_sources.ADD_HOST
_right("host", "the lecture's way", HOST)
_right(
    "host",
    "one exit, a loop of allocations, every code kept",
    r"""
#include <cuda_runtime.h>
extern "C" int vector_add(const float* left, const float* right, float* out, int count, int block) {
  const size_t size = sizeof(float) * count;
  float* device[3] = {nullptr, nullptr, nullptr};
  cudaError_t worst = cudaSuccess;
  auto keep = [&](cudaError_t now) { if (worst == cudaSuccess) worst = now; };
  for (float*& p : device) keep(cudaMalloc((void**)&p, size));
  keep(cudaMemcpy(device[0], left, size, cudaMemcpyDefault));
  keep(cudaMemcpy(device[1], right, size, cudaMemcpyDefault));
  if (worst == cudaSuccess) {
    dim3 grid(count / block + (count % block != 0));
    add<<<grid, dim3(block)>>>(device[0], device[1], device[2], count);
    keep(cudaGetLastError());
    keep(cudaDeviceSynchronize());
  }
  keep(cudaMemcpy(out, device[2], size, cudaMemcpyDeviceToHost));
  for (float* p : device) cudaFree(p);
  return worst;
}
""",
)
_right(
    "host",
    "goto, one allocation for all",
    r"""
extern "C" int vector_add(const float* a, const float* b, float* c, int n, int threads) {
  float* all = nullptr;
  int blocks = (n - 1) / threads + 1, code = cudaMalloc(&all, 3 * n * sizeof(float));
  if (code) goto end;
  cudaMemcpy(all, a, n * sizeof(float), cudaMemcpyHostToDevice);
  cudaMemcpy(all + n, b, n * sizeof(float), cudaMemcpyHostToDevice);
  add<<<blocks, threads>>>(all, all + n, all + 2 * n, n);
  code = cudaPeekAtLastError();
  if (code) goto end;
  code = cudaMemcpy(c, all + 2 * n, n * sizeof(float), cudaMemcpyDeviceToHost);
end:
  cudaFree(all);
  return code;
}
""",
)
CEIL, GRID = "(n + threads - 1) / threads", "<<<(n + threads - 1) / threads, threads>>>"
FREE = "  cudaFree(da), cudaFree(db), cudaFree(dc);\n"
for what, *change in (
    ("round the grid down", CEIL, "n / threads"),
    ("no copy back", "  cudaMemcpy(c, dc, bytes, cudaMemcpyDeviceToHost);\n", ""),
    ("host pointers", ">>>(da, db, dc, n)", ">>>(a, b, c, n)"),
    ("wrong direction", "da, a, bytes, cudaMemcpyHostToDevice", "da, a, bytes, cudaMemcpyDeviceToHost"),
    ("pointers swapped", "cudaMemcpy(c, dc,", "cudaMemcpy(dc, c,"),
    ("elements for bytes allocated", "cudaMalloc(&da, bytes)", "cudaMalloc(&da, n)"),
    ("elements for bytes copied", "cudaMemcpy(c, dc, bytes", "cudaMemcpy(c, dc, n"),
    ("grid and block swapped", GRID, f"<<<threads, {CEIL}>>>"),
    ("leak", FREE, ""),
    ("leak of one", ", cudaFree(dc)", ""),
    ("free twice", "cudaFree(db), ", "cudaFree(da), "),
    ("leak on errors", "  cudaMemcpy(c, dc", "  if (error) return error;\n  cudaMemcpy(c, dc"),
    ("ignored error", "return error ? error : cudaGetLastError();", "return 0;"),
    ("any error is one", "return error ? error : cudaGetLastError();", "return error ? 1 : 0;"),
    ("its own number of threads", GRID, "<<<(n + 255) / 256, 256>>>"),
    ("as many threads as fit", GRID, "<<<(n + 1023) / 1024, threads < 1024 ? threads : 1024>>>"),
    ("b twice", "(da, db, dc, n)", "(db, db, dc, n)"),
    ("host reads device memory", "  cudaFree(da)", "  c[0] = dc[0];\n  cudaFree(da)"),
    ("free before the copy", "  cudaMemcpy(c", "  cudaFree(dc);\n  cudaMemcpy(c"),
    ("never ends", "  cudaFree(da)", "  while (dc) n = n | 1;\n  cudaFree(da)"),
    ("ends the program", "  cudaFree(da)", "  if (n > 256) exit(1);\n  cudaFree(da)"),
    ("aborts", "  cudaFree(da)", "  if (error) abort();\n  cudaFree(da)"),
    ("throws", "  cudaFree(da)", "  if (n > 256) throw 1;\n  cudaFree(da)"),
    ("a null pointer", "  cudaFree(da)", "  int* p = nullptr;\n  *(volatile int*)p = n;\n  cudaFree(da)"),
    ("endless recursion", "  cudaFree(da)", "  vector_add(a, b, c, n + 1, threads);\n  cudaFree(da)"),
    ('no extern "C"', 'extern "C" int', "int"),
    ("kernel called like a function", f"add{GRID}", "add"),
    ("another kernel", "add<<<", "sum<<<"),
):
    _wrong("host", what, HOST, tuple(change))
_wrong("host", "half of the computation on the CPU", HOST, ("n);\n  cuda", "n / 2);\n  cuda"))


# -- grid_stride ---------------------------------------------------------------------------------------

SAXPY = r"""
__global__ void saxpy(float alpha, const float* x, float* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    y[i] = alpha * x[i] + y[i];
}
"""
_right("grid_stride", "a for loop", SAXPY)
_right(
    "grid_stride",
    "a while loop, other names, fused",
    r"""
__global__ void saxpy(float scale, const float* in, float* out, int count) {
  const int stride = blockDim.x * gridDim.x;
  int mine = threadIdx.x + blockIdx.x * blockDim.x;
  while (mine < count) {
    out[mine] = fmaf(scale, in[mine], out[mine]);
    mine += stride;
  }
}
""",
)
_right(
    "grid_stride",
    "blocks take tiles in turn, an early continue",
    r"""
__global__ void saxpy(float alpha, const float* x, float* y, int n) {
  for (int tile = blockIdx.x; tile * blockDim.x < n; tile += gridDim.x) {
    size_t i = size_t(tile) * blockDim.x + threadIdx.x;
    if (i >= n) continue;
    y[i] += alpha * x[i];
  }
}
""",
)
FOR = "for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)"
CHUNK = """int per = (n + gridDim.x * blockDim.x - 1) / (gridDim.x * blockDim.x);
  int start = (blockIdx.x * blockDim.x + threadIdx.x) * per;
  for (int i = start; i < min(start + per, n); i++)"""
for what, *change in (
    ("one element a thread", FOR, "int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < n)"),
    ("stride of a block", "i += gridDim.x * blockDim.x", "i += blockDim.x"),
    ("stride of the number of blocks", "i += gridDim.x * blockDim.x", "i += gridDim.x"),
    ("stride of one", "i += gridDim.x * blockDim.x", "i++"),
    ("stride of 256", "i += gridDim.x * blockDim.x", "i += 256"),
    ("no stride", "i += gridDim.x * blockDim.x", ""),
    ("forget the block", "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x"),
    ("one too many", "i < n", "i <= n"),
    ("no bound", "i < n", "true"),
    ("a chunk a thread", FOR, CHUNK),
    ("without y", "alpha * x[i] + y[i]", "alpha * x[i]"),
    ("without alpha", "alpha * x[i]", "x[i]"),
    ("y scaled", "alpha * x[i] + y[i]", "x[i] + alpha * y[i]"),
    ("written to the wrong array", "y[i] =", "x[i] ="),
    ("a double alpha and a missing bracket", "n) {", "n {"),
):
    _wrong("grid_stride", what, SAXPY, tuple(change))


# -- float4 --------------------------------------------------------------------------------------------

ADD4 = r"""
__global__ void add4(const float* a, const float* b, float* c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i + 3 < n) {
    float4 x = reinterpret_cast<const float4*>(a)[i], y = reinterpret_cast<const float4*>(b)[i];
    reinterpret_cast<float4*>(c)[i] = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
  } else {
    for (int j = 4 * i; j < n; j++) c[j] = a[j] + b[j];
  }
}
"""
_right("float4", "a thread does the rest", ADD4)
_right(
    "float4",
    "the first threads do the rest, changed in place, C casts",
    r"""
__global__ void add4(const float* a, const float* b, float* c, int n) {
  const int me = blockIdx.x * blockDim.x + threadIdx.x, whole = n / 4;
  if (me < whole) {
    float4 sum = ((const float4*)a)[me];
    const float4 other = *((const float4*)b + me);
    sum.x += other.x;
    sum.y += other.y;
    sum.z += other.z;
    sum.w += other.w;
    ((float4*)c)[me] = sum;
  }
  if (me < n % 4) c[4 * whole + me] = a[4 * whole + me] + b[4 * whole + me];
}
""",
)
_right(
    "float4",
    "a grid-stride loop and a while",
    r"""
__device__ float4 operator+(const float4& a, const float4& b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__global__ void add4(const float* a, const float* b, float* c, int n) {
  auto a4 = reinterpret_cast<const float4*>(a);
  auto b4 = reinterpret_cast<const float4*>(b);
  auto c4 = reinterpret_cast<float4*>(c);
  int first = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
  for (int i = first; i < n / 4; i += step) {
    float4 left = a4[i], right = b4[i];
    c4[i] = left + right;
  }
  int j = n - n % 4 + first;
  while (j < n) c[j] = a[j] + b[j], j += step;
}
""",
)
TAIL = " else {\n    for (int j = 4 * i; j < n; j++) c[j] = a[j] + b[j];\n  }"
VECTOR = ADD4[ADD4.index("    float4 x") : ADD4.index("  } else")]
for what, *change in (
    ("no rest", TAIL, ""),
    ("the whole vector at the end", "4 * i + 3 < n", "4 * i < n"),
    ("no bound", "if (4 * i + 3 < n)", "if (true)"),
    ("one vector too few", "4 * i + 3 < n", "4 * i + 4 < n"),
    ("bound of elements", "4 * i + 3 < n", "i < n"),
    ("the rest by one element", "for (int j = 4 * i; j < n; j++)", "int j = 4 * i;\n    if (j < n)"),
    ("the rest one too far", "j < n", "j <= n"),
    ("the rest starts at n / 4", "int j = 4 * i", "int j = i"),
    ("element by element", VECTOR, "    for (int j = 4 * i; j < 4 * i + 4; j++) c[j] = a[j] + b[j];\n"),
    ("w twice", "x.z + y.z", "x.w + y.w"),
    ("without w", "x.w + y.w", "x.w"),
    ("an element as vector's index", "(c)[i]", "(c)[4 * i]"),
    ("misaligned", "(b)[i]", "(b + 1)[i]"),
    ("far apart", "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x * gridDim.x + blockIdx.x"),
    ("pairs", "float4 x = reinterpret_cast<const float4*>", "float2 x = reinterpret_cast<const float2*>"),
):
    _wrong("float4", what, ADD4, tuple(change))
_wrong(
    "float4",
    "read by reference, part by part",
    ADD4,
    ("float4 x = ", "const float4 &x = "),
    (", y = ", ", &y = "),
)


# -- block_sum -----------------------------------------------------------------------------------------

SUM = r"""
__global__ void block_sum(const float* x, float* out, int n) {
  __shared__ float sums[32];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  float v = i < n ? x[i] : 0.0f;
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);
  if (t % 32 == 0) sums[t / 32] = v;
  __syncthreads();
  if (t < 32) {
    v = t < blockDim.x / 32 ? sums[t] : 0.0f;
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);
    if (t == 0) out[blockIdx.x] = v;
  }
}
"""
_right("block_sum", "down twice", SUM)
_right(
    "block_sum",
    "xor, a device function, one thread adds the warps",
    r"""
__device__ float warp_sum(float v) {
  for (int mask = 1; mask < warpSize; mask <<= 1) v += __shfl_xor_sync(~0u, v, mask);
  return v;
}
__global__ void block_sum(const float* in, float* out, int count) {
  extern __shared__ float unused[];
  __shared__ float part[1024 / 32];
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float total = 0;
  if (unsigned i = threadIdx.x + blockIdx.x * blockDim.x; i < unsigned(count)) total = in[i];
  total = warp_sum(total);
  if (lane == 0) part[warp] = total;
  __syncthreads();
  if (threadIdx.x != 0) return;
  float sum = 0;
  int w = 0;
  while (w < int(blockDim.x + 31) / 32) sum += part[w++];
  out[blockIdx.x] = sum;
}
""",
)
_right(
    "block_sum",
    "zeros first, five written steps",
    r"""
#define FULL 0xffffffffu
__global__ void block_sum(const float* x, float* out, int n) {
  __shared__ float s[32];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  if (t < 32) s[t] = 0;
  float v = 0;
  if (i < n) v = x[i];
  v += __shfl_down_sync(FULL, v, 16);
  v += __shfl_down_sync(FULL, v, 8);
  v += __shfl_down_sync(FULL, v, 4);
  v += __shfl_down_sync(FULL, v, 2);
  v += __shfl_down_sync(FULL, v, 1);
  __syncthreads();
  if (!(t & 31)) s[t >> 5] = v;
  __syncthreads();
  if (t >= 32) return;
  v = s[t];
  for (int d = 1; d < 32; d *= 2) v += __shfl_xor_sync(FULL, v, d);
  if (!t) out[blockIdx.x] = v;
}
""",
)
SECOND = SUM[SUM.index("  if (t < 32) {") : SUM.rindex("}")]
for what, *change in (
    ("no barrier", "  __syncthreads();\n", ""),
    ("an early return", "  float v = i < n ? x[i] : 0.0f;", "  if (i >= n) return;\n  float v = x[i];"),
    ("no bound", "i < n ? x[i] : 0.0f", "x[i]"),
    ("one too many", "i < n", "i <= n"),
    ("warp sums that were never written", "t < blockDim.x / 32 ? sums[t] : 0.0f", "sums[t]"),
    ("start at 8", "int d = 16", "int d = 8"),
    ("stop before 1", "d > 0", "d > 1"),
    ("the first warp only", SECOND, "  if (t == 0) out[blockIdx.x] = v;\n"),
    ("the shuffle replaces", "v += __shfl", "v = __shfl"),
    ("up instead of down", "__shfl_down_sync", "__shfl_up_sync"),
    ("all threads write", "if (t == 0) out", "out"),
    ("every lane writes the warp's sum", "if (t % 32 == 0) sums", "sums"),
    ("every thread's value in shared memory", "sums[t / 32] = v", "sums[t] = v"),
    ("one sum for all blocks", "out[blockIdx.x]", "out[0]"),
    (
        "a barrier in the branch",
        "sums[t / 32] = v;\n  __syncthreads();",
        "{ sums[t / 32] = v; __syncthreads(); }",
    ),
    ("the mean", "= v;\n  }", "= v / blockDim.x;\n  }"),
    ("the old shuffle", "__shfl_down_sync(0xffffffff, ", "__shfl_down("),
    ("half of the warp in the mask", "0xffffffff", "0xffff"),
):
    _wrong("block_sum", what, SUM, tuple(change))


@WRONG("block_sum")
def block_sum_by_a_tree():
    """Harris' tree in shared memory: right, but without shuffles."""
    return r"""
__global__ void block_sum(const float* x, float* out, int n) {
  __shared__ float s[1024];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  s[t] = i < n ? x[i] : 0.0f;
  for (int size = blockDim.x; size > 1; size = (size + 1) / 2) {
    __syncthreads();
    if (t < size / 2) s[t] += s[t + (size + 1) / 2];
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
"""


@WRONG("block_sum")
def block_sum_by_atomics():
    """An atomic addition a warp, in an order that nobody knows."""
    return SUM.replace("if (t % 32 == 0) sums[t / 32] = v;", "if (t == 0) sums[0] = 0;").replace(
        SECOND,
        """  if (t % 32 == 0) atomicAdd(&sums[0], v);
  __syncthreads();
  if (t == 0) out[blockIdx.x] = sums[0];
""",
    )


@WRONG("block_sum")
def block_sum_of_one_thread():
    """One thread reads all values."""
    return r"""
__global__ void block_sum(const float* x, float* out, int n) {
  if (threadIdx.x > 0) return;
  float sum = 0;
  for (int i = blockIdx.x * blockDim.x; i < min((blockIdx.x + 1) * blockDim.x, n); i++) sum += x[i];
  out[blockIdx.x] = sum;
}
"""


@WRONG("block_sum")
def block_sum_with_the_last_warp_unsynchronised():
    """The warp-synchronous end of 2007, which no GPU since Volta promises to run in step."""
    return r"""
__global__ void block_sum(const float* x, float* out, int n) {
  __shared__ volatile float s[1024 + 32];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  s[t] = i < n ? x[i] : 0.0f;
  __syncthreads();
  if (t < 32) {
    for (int k = t + 32; k < blockDim.x; k += 32) s[t] += s[k];
    for (int d = 16; d > 0; d /= 2) s[t] += s[t + d];
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
"""


# -- predict -------------------------------------------------------------------------------------------


@RIGHT("predict")
def predict_with_max(n, reads, writes, flops, itemsize, peak, bandwidth):
    """The longer of the two times."""
    moved = itemsize * (reads + writes)
    return flops / moved, max(n * flops / peak, n * moved / bandwidth)


@RIGHT("predict")
def predict_from_the_roof(n, reads, writes, flops, itemsize, peak, bandwidth):
    """The speed from the intensity, without dividing by zero operations."""
    intensity = flops / ((reads + writes) * itemsize)
    if intensity < peak / bandwidth:
        return [intensity, np.float64(n * (reads + writes) * itemsize / bandwidth)]
    return [intensity, flops * n / min(peak, intensity * bandwidth)]


def _predict(n, reads, writes, flops, itemsize, peak, bandwidth, write=1, size=None, combine=max, share=1):
    moved = (size or itemsize) * (reads + write * writes)
    return share * flops / moved, combine(n * flops / peak, n * moved / bandwidth)


WRONG.add("predict", _predict, "forget what is written", write=0)
WRONG.add("predict", _predict, "elements for bytes", size=1)
WRONG.add("predict", _predict, "always four bytes", size=4)
WRONG.add("predict", _predict, "add the times", combine=lambda one, two: one + two)
WRONG.add("predict", _predict, "the shorter time", combine=min)
WRONG.add("predict", _predict, "the time of the memory", combine=lambda one, two: two)
WRONG.add("predict", _predict, "the time of the computation", combine=lambda one, two: one)
WRONG.add("predict", _predict, "two operations for one", share=2)
WRONG.add("predict", _predict, "milliseconds", combine=lambda one, two: 1e3 * max(one, two))


@WRONG("predict")
def predict_bytes_by_flops(n, reads, writes, flops, itemsize, peak, bandwidth):
    """The intensity upside down, the other half missing."""
    return itemsize * (reads + writes) / max(flops, 1)
