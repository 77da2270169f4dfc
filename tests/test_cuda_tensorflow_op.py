"""A CUDA kernel inside a TensorFlow op."""

import numpy as np
import pytest

from tf_study import cuda
from tf_study.cuda import builder
from tf_study.errors import StudyError

SOURCE = r"""
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
__global__ void twice(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = FACTOR * x[i];
}
void compute(void*, TF_OpKernelContext* ctx) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* x;
  TF_GetInput(ctx, 0, &x, status);
  int64_t n = TF_TensorElementCount(x);
  TF_Tensor* y = TF_AllocateOutput(ctx, 0, TF_FLOAT, &n, 1, TF_TensorByteSize(x), status);
  twice<<<(n + 255) / 256, 256>>>((const float*)TF_TensorData(x), (float*)TF_TensorData(y), n);
  TF_DeleteTensor(x), TF_DeleteTensor(y), TF_DeleteStatus(status);
}
static int registered = [] {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder("NAME");
  TF_OpDefinitionBuilderAddInput(op, "x: float");
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_RegisterOpDefinition(op, status);
  TF_RegisterKernelBuilder("NAME", TF_NewKernelBuilder("NAME", "CPU", nullptr, compute, nullptr), status);
  TF_DeleteStatus(status);
  return 0;
}();
"""

needs_compiler = pytest.mark.skipif(builder.compiler() is None, reason="C++ 컴파일러가 없습니다.")


def source(name: str, factor: int) -> str:
    return SOURCE.replace("NAME", name).replace("FACTOR", str(factor))


@needs_compiler
def test_an_op_runs_the_cuda_kernel_and_a_known_name_is_told():
    x = np.arange(1000, dtype="float32")
    first = cuda.tensorflow_op(source("StudyTwice", 2))
    assert np.array_equal(first.study_twice(x), 2 * x)
    again = cuda.tensorflow_op(source("StudyTwice", 2))  # the same library: a cell that is run twice
    assert np.array_equal(again.study_twice(x), 2 * x)
    with pytest.raises(StudyError, match="이름을 바꾸거나"):
        cuda.tensorflow_op(source("StudyTwice", 3))
    assert np.array_equal(first.study_twice(x), 2 * x)
    assert np.array_equal(cuda.tensorflow_op(source("StudyTwice3", 3)).study_twice3(x), 3 * x)


@needs_compiler
def test_an_error_in_the_source_has_its_line():
    with pytest.raises(StudyError, match="6번째 줄"):
        cuda.tensorflow_op(source("StudyWrong", "missing"))
