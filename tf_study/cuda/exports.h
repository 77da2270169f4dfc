// What Python may call in a built source, with the types of the parameters; for the emulator and for nvcc.
#pragma once
#include <stddef.h>

#include <type_traits>
#include <utility>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

namespace tf_study {
struct Type {
  char kind;      // 'f' floating point, 'i' signed, 'u' unsigned, 'b' bool, 'v' void, 's' anything else
  char pointer;   // whether the rest describes what is pointed at
  char constant;  // whether what is pointed at may not be written
  char unused;
  int bytes;      // of the value, or of what is pointed at; 0 for void
};
constexpr int kMost = 24;
struct Export {
  void* call;
  int count;
  Type result, parameters[kMost];
};

template <class T> constexpr Type type() {
  using Element = std::remove_pointer_t<T>;
  using Value = std::remove_cv_t<Element>;
  constexpr bool nothing = std::is_void_v<Value>, whole = std::is_integral_v<Value> || std::is_enum_v<Value>;
  char kind = nothing                            ? 'v'
              : std::is_same_v<Value, bool>      ? 'b'
              : std::is_floating_point_v<Value>  ? 'f'
              : std::is_unsigned_v<Value>        ? 'u'
              : whole                            ? 'i'
                                                 : 's';
  int bytes = 0;
  if constexpr (!nothing) bytes = sizeof(Value);
  return {kind, std::is_pointer_v<T>, std::is_const_v<Element>, 0, bytes};
}
template <class R, class... P> constexpr Export describe(void* call) {
  static_assert(sizeof...(P) <= kMost, "too many parameters");
  return {call, int(sizeof...(P)), type<R>(), {type<P>()...}};
}

#ifdef __CUDACC__
inline int allocations = 0;  // live ones: the leaks that a check asks for
template <class T> cudaError_t counted_malloc(T** p, size_t bytes) {
  cudaError_t error = cudaMalloc(p, bytes);
  allocations += error == cudaSuccess;
  return error;
}
inline cudaError_t counted_free(void* p) {
  cudaError_t error = cudaFree(p);
  allocations -= p && error == cudaSuccess;
  return error;
}
#endif

// A host function as it stands (nvcc), or inside a guard that survives its crash (emulator).
template <auto function> struct Host;
template <class R, class... P, R (*function)(P...)> struct Host<function> {
  static R call(P... arguments) {
#ifdef __CUDACC__
    return function(arguments...);
#else
    if constexpr (std::is_void_v<R>) {
      cuda_emulator::guarded([&] { function(arguments...); });
    } else {
      R result{};
      cuda_emulator::guarded([&] { result = function(arguments...); });
      return result;
    }
#endif
  }
};
template <class R, class... P> Export host(R (*)(P...), R (*guarded)(P...)) {
  return describe<R, P...>(reinterpret_cast<void*>(guarded));
}

// A kernel, launched with pointers to its arguments.
template <auto kernel> struct Kernel;
template <class... P, void (*kernel)(P...)> struct Kernel<kernel> {
  template <size_t... I>
  static void with(dim3 grid, dim3 block, size_t shared, void** arguments, std::index_sequence<I...>) {
#ifdef __CUDACC__
    cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared, nullptr);
#else
    cuda_emulator::launcher(kernel, grid, block, shared)(*static_cast<std::decay_t<P>*>(arguments[I])...);
#endif
  }
  static int launch(const unsigned* grid, const unsigned* block, size_t shared, void** arguments) {
    with({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared, arguments,
         std::index_sequence_for<P...>());
    cudaError_t launched = cudaGetLastError(), done = cudaDeviceSynchronize();
    return launched ? launched : done;
  }
  static Export describe() { return tf_study::describe<void, P...>(reinterpret_cast<void*>(&launch)); }
};
}  // namespace tf_study

#ifdef __CUDACC__
#define TF_STUDY_VISIBLE extern "C"
TF_STUDY_VISIBLE int tf_study_allocations() { return tf_study::allocations; }
TF_STUDY_VISIBLE int tf_study_malloc(void** p, size_t bytes) { return cudaMalloc(p, bytes); }
TF_STUDY_VISIBLE int tf_study_free(void* p) { return cudaFree(p); }
TF_STUDY_VISIBLE int tf_study_copy(void* to, const void* from, size_t bytes) {
  return cudaMemcpy(to, from, bytes, cudaMemcpyDefault);
}
TF_STUDY_VISIBLE const char* tf_study_error(int code) { return cudaGetErrorString(cudaError_t(code)); }
#define cudaMalloc tf_study::counted_malloc
#define cudaFree tf_study::counted_free
#else
#define TF_STUDY_VISIBLE extern "C" __attribute__((visibility("default")))
#endif
#define TF_STUDY_HOST(number, function) \
  TF_STUDY_VISIBLE const tf_study::Export* tf_study_host_##number() { \
    static const auto e = tf_study::host(function, &tf_study::Host<function>::call); \
    return &e; \
  }
#define TF_STUDY_KERNEL(number, ...) \
  TF_STUDY_VISIBLE const tf_study::Export* tf_study_kernel_##number() { \
    static const auto e = tf_study::Kernel<__VA_ARGS__>::describe(); \
    return &e; \
  }
