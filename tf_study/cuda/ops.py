"""A TensorFlow op whose CPU kernel is a CUDA kernel, run by the emulator."""

from types import ModuleType

from tf_study.cuda import builder
from tf_study.errors import StudyError


def tensorflow_op(source: str) -> ModuleType:
    """Build a source that registers ops through TensorFlow's C interface, and load it.

    Args:
        source: CUDA C++ that includes ``tensorflow/c/kernels.h`` and ``ops.h``; its kernels get the tensors' memory.

    Returns:
        A module with a function for each op, in snake case, as ``tf.load_op_library`` makes it.

    Raises:
        StudyError: if the source has an error (with its line), there is no compiler, or it registers no new op: a
            name that this process knows already keeps its old kernel, and TensorFlow does not tell.
    """
    import tensorflow as tf

    flags = [*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    path = builder.library(source, backend="emulator", flags=flags, host_memory=True)
    module = tf.load_op_library(str(path))
    if not any(name.endswith("_eager_fallback") for name in vars(module)):
        raise StudyError(
            "새로 등록된 TensorFlow 연산이 없으니, 이름이 같은 연산을 이미 등록했으면 소스에서 이름을 바꾸거나 노트북의"
            " 커널을 다시 시작하세요."
        )
    return module
