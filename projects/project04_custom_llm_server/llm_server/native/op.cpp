// Two TensorFlow ops through the C interface: a product with 4-bit weights, and attention over a paged cache.
// GCC's and Clang's vector types become whatever the processor has: AVX-512, AVX2 or NEON.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

constexpr int L = 16;  // numbers in a vector
constexpr int W = 4;   // vectors of outputs that are computed together: columns come in multiples of L * W
typedef float Floats __attribute__((vector_size(4 * L)));
typedef int32_t Words __attribute__((vector_size(4 * L)));

template <class T> static inline T load(const void* from) { T v; std::memcpy(&v, from, sizeof v); return v; }
static inline void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }
static inline Floats all(float a) { return a - Floats{}; }
static inline float sum(Floats v) {
  float a[L];
  std::memcpy(a, &v, sizeof v);
#pragma GCC unroll 4
  for (int half = L / 2; half; half /= 2) for (int i = 0; i < half; ++i) a[i] += a[i + half];
  return a[0];
}

// The tensors of one call. Outputs are always float.
struct Call {
  TF_OpKernelContext* context;
  TF_Status* status = TF_NewStatus();
  std::vector<TF_Tensor*> held;
  explicit Call(TF_OpKernelContext* c) : context(c), held(TF_NumInputs(c)) {
    for (size_t i = 0; i < held.size(); ++i) TF_GetInput(c, i, &held[i], status);
  }
  ~Call() { for (auto t : held) TF_DeleteTensor(t); TF_DeleteStatus(status); }
  int dim(int input, int axis) const { return (int)TF_Dim(held[input], axis); }
  template <class T> const T* in(int input) const { return static_cast<const T*>(TF_TensorData(held[input])); }
  float* out(std::vector<int64_t> shape) {
    int64_t bytes = sizeof(float);
    for (auto n : shape) bytes *= n;
    held.push_back(TF_AllocateOutput(context, 0, TF_FLOAT, shape.data(), (int)shape.size(), bytes, status));
    return static_cast<float*>(TF_TensorData(held.back()));
  }
};

// B rows of x times L * W columns: y = sum over groups of scale * (sum of x * code - zero * sum of x).
// A word holds the codes of eight consecutive inputs, the first in its lowest bits.
template <int B>
static void tile(const float* x, const int32_t* q, const float* s, const float* z, float* y, int n, int o, int g) {
  Floats total[B][W] = {};
  for (int group = 0; group < n / g; ++group) {
    Floats part[B][W] = {};
    float inputs[B] = {};
    for (int i = group * g; i < (group + 1) * g; i += 8) {
      Words word[W];
      for (int w = 0; w < W; ++w) word[w] = load<Words>(q + (size_t)(i / 8) * o + L * w);
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        Floats code[W];
        for (int w = 0; w < W; ++w) { code[w] = __builtin_convertvector(word[w] & 15, Floats); word[w] >>= 4; }
        for (int b = 0; b < B; ++b) {
          float a = x[(size_t)b * n + i + k];
          inputs[b] += a;
          for (int w = 0; w < W; ++w) part[b][w] += all(a) * code[w];
        }
      }
    }
    for (int w = 0; w < W; ++w) {
      auto scale = load<Floats>(s + (size_t)group * o + L * w), zero = load<Floats>(z + (size_t)group * o + L * w);
      for (int b = 0; b < B; ++b) total[b][w] += scale * (part[b][w] - zero * all(inputs[b]));
    }
  }
  for (int b = 0; b < B; ++b) for (int w = 0; w < W; ++w) store(y + (size_t)b * o + L * w, total[b][w]);
}

// x (N, n), q (n / 8, o), s and z (n / g, o) → (N, o)
static void w4(void*, TF_OpKernelContext* context) {
  Call call(context);
  int N = call.dim(0, 0), n = call.dim(0, 1), o = call.dim(1, 1), g = n / call.dim(2, 0);
  float* y = call.out({N, o});
  for (int t = 0; t < o; t += L * W) {
    auto rows = [&](auto tile, int b) {
      tile(call.in<float>(0) + (size_t)b * n, call.in<int32_t>(1) + t, call.in<float>(2) + t, call.in<float>(3) + t,
           y + (size_t)b * o + t, n, o, g);
    };
    int b = 0;
    for (; b + 4 <= N; b += 4) rows(tile<4>, b);
    for (; b < N; ++b) rows(tile<1>, b);
  }
}

// q (N, H, D), new k and v (N, G, D), the cache of keys and values (blocks, G, size, D), tables (S, M), sequence (N,),
// position (N,) → (N, H, D). The new keys and values are written into the cache, whose memory is the variables' own;
// then each row attends to its sequence up to itself. Blocks are read where they lie; the softmax is the online one.
static void paged(void*, TF_OpKernelContext* context) {
  Call call(context);
  int N = call.dim(0, 0), H = call.dim(0, 1), D = call.dim(0, 2);
  int G = call.dim(3, 1), size = call.dim(3, 2), M = call.dim(5, 1), heads = H / G;
  const float* q = call.in<float>(0);
  float *k = const_cast<float*>(call.in<float>(3)), *v = const_cast<float*>(call.in<float>(4));
  const int32_t *tables = call.in<int32_t>(5), *sequence = call.in<int32_t>(6), *position = call.in<int32_t>(7);
  auto block = [&](int row, int j, int g) {  // where the j-th block of a row's sequence begins, for one head
    return ((size_t)tables[(size_t)sequence[row] * M + j] * G + g) * size * D;
  };
  for (int row = 0; row < N; ++row) for (int g = 0; g < G; ++g) {
    size_t to = block(row, position[row] / size, g) + (size_t)(position[row] % size) * D, from = ((size_t)row * G + g) * D;
    std::memcpy(k + to, call.in<float>(1) + from, 4 * D);
    std::memcpy(v + to, call.in<float>(2) + from, 4 * D);
  }
  float *y = call.out({N, H, D}), scale = 1 / std::sqrt((float)D);
  std::vector<float> top(heads), total(heads), weight(size);
  for (int row = 0; row < N; ++row) for (int g = 0; g < G; ++g) {
    const float* query = q + ((size_t)row * H + g * heads) * D;
    float* mixed = y + ((size_t)row * H + g * heads) * D;
    std::fill(mixed, mixed + heads * D, 0.f);
    std::fill(total.begin(), total.end(), 0.f);
    std::fill(top.begin(), top.end(), -1e30f);
    for (int j = 0; j * size <= position[row]; ++j) {
      int tokens = std::min(size, position[row] + 1 - j * size);
      size_t at = block(row, j, g);
      for (int a = 0; a < heads; ++a) {
        float high = top[a];
        for (int t = 0; t < tokens; ++t) {
          Floats dot{};
          for (int d = 0; d < D; d += L) dot += load<Floats>(query + a * D + d) * load<Floats>(k + at + t * D + d);
          weight[t] = sum(dot) * scale;
          high = std::max(high, weight[t]);
        }
        float old = std::exp(top[a] - high);
        top[a] = high;
        total[a] *= old;
        for (int t = 0; t < tokens; ++t) total[a] += weight[t] = std::exp(weight[t] - high);
        for (int d = 0; d < D; d += L) {
          Floats sum = load<Floats>(mixed + a * D + d) * all(old);
          for (int t = 0; t < tokens; ++t) sum += all(weight[t]) * load<Floats>(v + at + t * D + d);
          store(mixed + a * D + d, sum);
        }
      }
    }
    for (int a = 0; a < heads; ++a) for (int d = 0; d < D; ++d) mixed[a * D + d] /= total[a];
  }
}

static int add(const char* name, bool stateful, std::vector<const char*> inputs,
               void (*compute)(void*, TF_OpKernelContext*)) {
  TF_Status* status = TF_NewStatus();
  auto* op = TF_NewOpDefinitionBuilder(name);
  for (auto input : inputs) TF_OpDefinitionBuilderAddInput(op, input);
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetIsStateful(op, stateful);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(
      op, [](TF_ShapeInferenceContext* c, TF_Status* s) { TF_ShapeInferenceContextSetUnknownShape(c, s); });
  TF_RegisterOpDefinition(op, status);
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", nullptr, compute, nullptr), status);
  TF_DeleteStatus(status);
  return 0;
}
static int ops[] = {
    add("LlmServerW4", false, {"x: float", "q: int32", "s: float", "z: float"}, w4),
    add("LlmServerPaged", true,
        {"q: float", "k: float", "v: float", "keys: float", "values: float", "tables: int32", "sequence: int32",
         "position: int32"}, paged)};
