"""CUDA sources that several test modules run."""

ADD = r"""
__global__ void add(const float* a, const float* b, float* c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}
"""
ADD_HOST = r"""extern "C" int vector_add(const float* a, const float* b, float* c, int n, int threads) {
  float *da, *db, *dc;
  size_t bytes = n * sizeof(float);
  cudaMalloc(&da, bytes), cudaMalloc(&db, bytes), cudaMalloc(&dc, bytes);
  cudaMemcpy(da, a, bytes, cudaMemcpyHostToDevice);
  cudaMemcpy(db, b, bytes, cudaMemcpyHostToDevice);
  add<<<(n + threads - 1) / threads, threads>>>(da, db, dc, n);
  cudaError_t error = cudaGetLastError();
  cudaMemcpy(c, dc, bytes, cudaMemcpyDeviceToHost);
  cudaFree(da), cudaFree(db), cudaFree(dc);
  return error ? error : cudaGetLastError();
}
"""
VECTOR_ADD = ADD + ADD_HOST

# Which index follows threadIdx.x: Boehm's kernels 1 and 2, then the tile, with and without its second barrier.
MATMUL = r"""
__global__ void swapped(const float* a, const float* b, float* c, int n) {
  int row = blockIdx.x * blockDim.x + threadIdx.x, col = blockIdx.y * blockDim.y + threadIdx.y;
  float sum = 0;
  for (int k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + col];
  c[row * n + col] = sum;
}
__global__ void naive(const float* a, const float* b, float* c, int n) {
  int row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + col];
  c[row * n + col] = sum;
}
template <int T, bool SECOND>
__global__ void tiled(const float* a, const float* b, float* c, int n) {
  __shared__ float sa[T][T], sb[T][T];
  int row = blockIdx.y * T + threadIdx.y, col = blockIdx.x * T + threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; k += T) {
    sa[threadIdx.y][threadIdx.x] = a[row * n + k + threadIdx.x];
    sb[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + col];
    __syncthreads();
    for (int i = 0; i < T; i++) sum += sa[threadIdx.y][i] * sb[i][threadIdx.x];
    if (SECOND) __syncthreads();
  }
  c[row * n + col] = sum;
}
"""
TILED = ("tiled<16, true>", "tiled<16, false>")

COPIES = r"""
struct P { float x, y, z; };
__global__ void one(const float* a, float* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = a[i];
}
__global__ void four(const float4* a, float4* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i + 3 < n) b[i] = a[i];
}
__global__ void four_parts(const float4* a, float4* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * i + 3 >= n) return;
  float4 v = a[i];
  v.x += 1, v.w *= 2;
  b[i] = make_float4(v.w, v.z, v.y, v.x);
}
__global__ void stride(const float* a, float* b, int n, int s) {
  int i = (blockIdx.x * blockDim.x + threadIdx.x) * s;
  if (i < n) b[i / s] = a[i];
}
__global__ void offset(const float* a, float* b, int n, int s) {
  int i = blockIdx.x * blockDim.x + threadIdx.x + s;
  if (i < n) b[i - s] = a[i];
}
__global__ void field(const P* p, float* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = p[i].x;
}
__global__ void whole(const P* p, P* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = p[i];
}
__global__ void grid_stride(const float* a, float* b, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) b[i] = a[i];
}
__global__ void chunk(const float* a, float* b, int n) {
  int per = n / (gridDim.x * blockDim.x), start = (blockIdx.x * blockDim.x + threadIdx.x) * per;
  for (int i = start; i < start + per; i++) b[i] = a[i];
}
__global__ void same(const float* a, float* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = a[i / 32];
}
__global__ void rows(const float* a, float* b, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) b[i] = a[i * 32 % n];
}
"""

TRANSPOSE = r"""
constexpr int T = 32, ROWS = 8;
__global__ void naive(const float* in, float* out, int n) {
  int x = blockIdx.x * T + threadIdx.x, y = blockIdx.y * T + threadIdx.y;
  for (int j = 0; j < T; j += ROWS) out[x * n + y + j] = in[(y + j) * n + x];
}
template <int PAD> __global__ void tile(const float* in, float* out, int n) {
  __shared__ float tile[T][T + PAD];
  int x = blockIdx.x * T + threadIdx.x, y = blockIdx.y * T + threadIdx.y;
  for (int j = 0; j < T; j += ROWS) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * n + x];
  __syncthreads();
  x = blockIdx.y * T + threadIdx.x, y = blockIdx.x * T + threadIdx.y;
  for (int j = 0; j < T; j += ROWS) out[(y + j) * n + x] = tile[threadIdx.x][threadIdx.y + j];
}
"""

# Harris, 'Optimizing Parallel Reduction in CUDA', kernels 1 to 3; shuffles; the last warp without a barrier; an atomic.
REDUCE = r"""
__global__ void interleaved(const float* in, float* out) {
  extern __shared__ float s[];
  unsigned t = threadIdx.x;
  s[t] = in[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned d = 1; d < blockDim.x; d *= 2) {
    if (t % (2 * d) == 0) s[t] += s[t + d];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
__global__ void strided(const float* in, float* out) {
  extern __shared__ float s[];
  unsigned t = threadIdx.x;
  s[t] = in[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned d = 1; d < blockDim.x; d *= 2) {
    unsigned i = 2 * d * t;
    if (i < blockDim.x) s[i] += s[i + d];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
__global__ void sequential(const float* in, float* out) {
  extern __shared__ float s[];
  unsigned t = threadIdx.x;
  s[t] = in[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned d = blockDim.x / 2; d > 0; d /= 2) {
    if (t < d) s[t] += s[t + d];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
__global__ void shuffled(const float* in, float* out) {
  __shared__ float s[32];
  unsigned t = threadIdx.x;
  float v = in[blockIdx.x * blockDim.x + t];
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);
  if (t % 32 == 0) s[t / 32] = v;
  __syncthreads();
  if (t < 32) {
    v = t < blockDim.x / 32 ? s[t] : 0.0f;
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);
    if (t == 0) out[blockIdx.x] = v;
  }
}
__global__ void last_warp(const float* in, float* out) {
  extern __shared__ volatile float s[];
  unsigned t = threadIdx.x;
  s[t] = in[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned d = blockDim.x / 2; d > 32; d /= 2) {
    if (t < d) s[t] += s[t + d];
    __syncthreads();
  }
  if (t < 32) {
    for (unsigned d = 32; d > 0; d /= 2) s[t] += s[t + d];
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
__global__ void atomic(const float* in, float* out) { atomicAdd(out, in[blockIdx.x * blockDim.x + threadIdx.x]); }
"""
