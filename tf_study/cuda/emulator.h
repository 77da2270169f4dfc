// Enough of CUDA C++ to run a .cu source on a CPU (g++ or clang, C++17), after translate.py has rewritten what C++
// lacks:  k<<<g, b, s>>>(x)  →  cuda_emulator::launcher([&](auto... a) { k(a...); }, g, b, s)(x)
//         __shared__ float t[8][9];  →  auto& t = cuda_emulator::shared<float[8][9], __COUNTER__>();
//         extern __shared__ float s[];  →  float* s = cuda_emulator::dynamic_shared<float>();
#pragma once
#define _GLIBCXX_BITS_SPECFUN_H 1  // libstdc++'s Bessel functions and the like are most of what a build would read
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define __CUDA_EMULATOR__ 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__  // promises would let the trace lose accesses, differently in each compiler
#define __align__(n) alignas(n)

#pragma GCC visibility push(hidden)
struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_emulator {
struct Site { const void* address; int64_t line; };  // of a call in the learner's source
int register_sites(const Site*);                     // the table that the build writes; ends with address 0
void run(dim3 grid, dim3 block, size_t shared, void (*call)(void*), void* data);
bool protect(void (*body)(void*), void* data);  // false: body crashed, never ended, or was given up
void block_barrier(int line);
struct Shown { uint64_t value; unsigned votes; };  // the value of the lane asked for; the lanes with a value ≠ 0
Shown warp_barrier(unsigned mask, uint64_t value, int from);
int lane();
void* allocate_shared(size_t bytes, size_t align);
void* dynamic_memory();
void note_copy(void* to, const void* from, int bytes, const void* site);
void note_atomic(void* p, int bytes, const void* site);
void check_pointer(const void* p);
extern int launches;  // numbers the launches, so that each lays out its shared memory anew

template <class F> void call(void* f) { (*static_cast<F*>(f))(); }
template <class F> bool guarded(F body) { return protect(call<F>, &body); }
template <class T> void check(const T&) {}
template <class T> void check(T* const& p) { check_pointer((const void*)p); }  // a GPU cannot follow host pointers
template <class K> struct Launcher {
  K kernel;
  dim3 grid, block;
  size_t shared;
  template <class... A> void operator()(A... arguments) {
    (check(arguments), ...);
    auto body = [&] { kernel(arguments...); };
    run(grid, block, shared, call<decltype(body)>, &body);
  }
};
template <class K> Launcher<K> launcher(K kernel, dim3 grid, dim3 block, size_t shared = 0, void* = nullptr) {
  return {kernel, grid, block, shared};
}
template <class T, int id> T& shared() {
  static int seen = -1;
  static T* place;
  if (seen != launches) seen = launches, place = static_cast<T*>(allocate_shared(sizeof(T), alignof(T)));
  return *place;
}
template <class T> T* dynamic_shared() { return static_cast<T*>(dynamic_memory()); }
template <class T> T exchange(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = warp_barrier(mask, bits, from).value;
  memcpy(&value, &bits, sizeof(T));
  return value;
}
}  // namespace cuda_emulator

// ---- vectors: one access of the whole vector, as on a GPU, however the compiler would split it
#if CUDA_EMULATOR_TRACE
#define CUDA_EMULATOR_COPY(name) \
  __attribute__((noinline, no_sanitize("thread"))) name(const name& o) { \
    cuda_emulator::note_copy(this, &o, sizeof o, __builtin_return_address(0)), memcpy((void*)this, &o, sizeof o); } \
  __attribute__((noinline, no_sanitize("thread"))) name& operator=(const name& o) { \
    cuda_emulator::note_copy(this, &o, sizeof o, __builtin_return_address(0)), memcpy((void*)this, &o, sizeof o); \
    return *this; }
#else
#define CUDA_EMULATOR_COPY(name)
#endif
#define CUDA_EMULATOR_VECTORS(T, prefix) \
  struct alignas(2 * sizeof(T)) prefix##2 { \
    T x, y; \
    prefix##2() = default; \
    constexpr prefix##2(T x, T y) : x(x), y(y) {} \
    CUDA_EMULATOR_COPY(prefix##2) \
  }; \
  struct prefix##3 { T x, y, z; }; \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) prefix##4 { \
    T x, y, z, w; \
    prefix##4() = default; \
    constexpr prefix##4(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {} \
    CUDA_EMULATOR_COPY(prefix##4) \
  }; \
  inline prefix##2 make_##prefix##2(T x, T y) { return {x, y}; } \
  inline prefix##3 make_##prefix##3(T x, T y, T z) { return {x, y, z}; } \
  inline prefix##4 make_##prefix##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 cuda_emulator_uint3  // stands above
CUDA_EMULATOR_VECTORS(float, float)
CUDA_EMULATOR_VECTORS(double, double)
CUDA_EMULATOR_VECTORS(int, int)
CUDA_EMULATOR_VECTORS(unsigned, uint)
#undef uint3

// ---- warps
#define __syncthreads() cuda_emulator::block_barrier(__LINE__)
inline void __syncwarp(unsigned mask = ~0u) { cuda_emulator::warp_barrier(mask, 0, cuda_emulator::lane()); }
template <class T> T __shfl_sync(unsigned m, T v, int from, int width = 32) {
  return cuda_emulator::exchange(m, v, (cuda_emulator::lane() & -width) + (from & (width - 1)));
}
template <class T> T __shfl_down_sync(unsigned m, T v, unsigned d, int width = 32) {
  int l = cuda_emulator::lane();
  return cuda_emulator::exchange(m, v, (l & (width - 1)) + int(d) < width ? l + int(d) : l);
}
template <class T> T __shfl_up_sync(unsigned m, T v, unsigned d, int width = 32) {
  int l = cuda_emulator::lane();
  return cuda_emulator::exchange(m, v, (l & (width - 1)) >= int(d) ? l - int(d) : l);
}
template <class T> T __shfl_xor_sync(unsigned m, T v, int x, int width = 32) {
  int l = cuda_emulator::lane(), other = l ^ x;
  return cuda_emulator::exchange(m, v, (other & -width) <= (l & -width) ? other : l);
}
inline unsigned __ballot_sync(unsigned m, int yes) { return cuda_emulator::warp_barrier(m, yes != 0, 0).votes; }
inline int __any_sync(unsigned m, int yes) { return __ballot_sync(m, yes) != 0; }
inline int __all_sync(unsigned m, int yes) { return __ballot_sync(m, !yes) == 0; }

// ---- atomics: one thread runs at a time, so reading and writing is atomic as it stands; the trace notes one access
#define CUDA_EMULATOR_ATOMIC(name, rule) \
  template <class T, class U> __attribute__((noinline, no_sanitize("thread"))) T name(T* p, U v) { \
    cuda_emulator::note_atomic((void*)p, sizeof(T), __builtin_return_address(0)); \
    T old = *p; \
    *p = rule; \
    return old; \
  }
CUDA_EMULATOR_ATOMIC(atomicAdd, old + T(v))
CUDA_EMULATOR_ATOMIC(atomicSub, old - T(v))
CUDA_EMULATOR_ATOMIC(atomicMax, T(v) > old ? T(v) : old)
CUDA_EMULATOR_ATOMIC(atomicMin, T(v) < old ? T(v) : old)
CUDA_EMULATOR_ATOMIC(atomicExch, T(v))
CUDA_EMULATOR_ATOMIC(atomicAnd, old & T(v))
CUDA_EMULATOR_ATOMIC(atomicOr, old | T(v))
CUDA_EMULATOR_ATOMIC(atomicXor, old ^ T(v))
template <class T, class U, class V>
__attribute__((noinline, no_sanitize("thread"))) T atomicCAS(T* p, U compare, V v) {
  cuda_emulator::note_atomic((void*)p, sizeof(T), __builtin_return_address(0));
  T old = *p;
  if (old == T(compare)) *p = T(v);
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- functions of device code
template <class T> __attribute__((always_inline)) inline const T& __ldg(const T* p) { return *p; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __int_as_float(int i) { float x; memcpy(&x, &i, 4); return x; }
inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(a) < T(b) ? T(b) : T(a);
}
__attribute__((format(printf, 1, 2))) int cuda_emulator_printf(const char* format, ...);
namespace std { using ::cuda_emulator_printf; }
#define printf cuda_emulator_printf  // the notebook's output, not the terminal that started Jupyter

// ---- the host's side of CUDA
enum cudaError_t {
  cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorInvalidConfiguration = 9,
  cudaErrorIllegalAddress = 700, cudaErrorLaunchTimeout = 702, cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault
};
typedef struct cuda_emulator_stream* cudaStream_t;
cudaError_t cudaMalloc(void** p, size_t bytes);
template <class T> cudaError_t cudaMalloc(T** p, size_t bytes) { return cudaMalloc((void**)p, bytes); }
cudaError_t cudaMallocManaged(void** p, size_t bytes);
template <class T> cudaError_t cudaMallocManaged(T** p, size_t bytes) { return cudaMallocManaged((void**)p, bytes); }
cudaError_t cudaFree(void* p);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind);
cudaError_t cudaMemset(void* p, int value, size_t bytes);
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t = nullptr) {
  return cudaMemcpy(to, from, bytes, kind);
}
template <class T> cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, size_t bytes) {
  if (bytes > sizeof(T)) return cudaErrorInvalidValue;
  memcpy((void*)&symbol, from, bytes);
  return cudaSuccess;
}
template <class T> cudaError_t cudaMemcpyFromSymbol(void* to, const T& symbol, size_t bytes) {
  if (bytes > sizeof(T)) return cudaErrorInvalidValue;
  memcpy(to, (const void*)&symbol, bytes);
  return cudaSuccess;
}
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaDeviceSynchronize();
const char* cudaGetErrorName(cudaError_t);
const char* cudaGetErrorString(cudaError_t);
#pragma GCC visibility pop
