"""A built CUDA source, whose functions and kernels are called with NumPy arrays and numbers."""

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tf_study.cuda import builder
from tf_study.cuda.trace import Trace
from tf_study.errors import StudyError

SECONDS = 10.0  # CPU time after which the emulator ends a call
_MOST = 24  # parameters, as exports.h has them


class _Type(ctypes.Structure):
    """``tf_study::Type`` of exports.h."""

    _fields_ = [
        ("kind", ctypes.c_char),
        ("pointer", ctypes.c_bool),
        ("constant", ctypes.c_bool),
        ("unused", ctypes.c_char),
        ("bytes", ctypes.c_int),
    ]

    def name(self) -> str:
        """Return the name of the NumPy dtype of the value, or of what is pointed at; empty for a struct."""
        kind = {b"f": "float", b"i": "int", b"u": "uint"}.get(self.kind)
        return "bool" if self.kind == b"b" else f"{kind}{8 * self.bytes}" if kind else ""

    def ctype(self):
        """Return the ctypes type of a value, ``None`` for void."""
        if self.pointer:
            return ctypes.c_void_p
        if self.kind == b"v":
            return None
        return np.ctypeslib.as_ctypes_type(np.dtype(self.name()))


class _Export(ctypes.Structure):
    """``tf_study::Export`` of exports.h."""

    _fields_ = [
        ("call", ctypes.c_void_p),
        ("count", ctypes.c_int),
        ("result", _Type),
        ("parameters", _Type * _MOST),
    ]


class Program:
    """A loaded program; what its source declares ``extern "C"`` are attributes of it.

    ``program.vector_add(a, b, c, n, 256)`` passes C-contiguous NumPy arrays as pointers and Python numbers as what the
    function declares, and returns what it returns: by convention CUDA's error code. An array whose dtype is not the
    one declared, a missing argument or a number that does not fit is an error, not a crash.

    Every call starts without the errors of earlier ones; what those have not freed stays until :meth:`reset`. In the
    emulator a crash or an endless loop of a kernel ends as an error code (700, 719; 702 after ``seconds`` of CPU
    time), of host code as :class:`StudyError`; Python goes on.

    Attributes:
        path: of the shared library.
        backend: ``"emulator"`` or ``"nvcc"``.
        seconds: CPU time after which the emulator ends a call.
        names: the functions and kernels that can be called.
    """

    def __init__(self, path: Path, names, backend: str, traced: bool = False):
        """Load what :func:`tf_study.cuda.build` has built."""
        self.path, self.names, self.backend, self.seconds = path, names, backend, SECONDS
        self._traced, self._last, self._lock = traced, 0, threading.RLock()
        self._library = library = ctypes.CDLL(str(path))
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        library.tf_study_malloc.argtypes = [ctypes.POINTER(pointer), size]
        library.tf_study_free.argtypes = [pointer]
        library.tf_study_copy.argtypes = [pointer, pointer, size]
        if backend == "emulator":
            library.tf_study_seconds.argtypes = [ctypes.c_double]
            library.tf_study_message.restype = library.tf_study_printed.restype = ctypes.c_char_p
            library.tf_study_trace.argtypes = [ctypes.c_int64]
            library.tf_study_trace_size.restype = ctypes.c_int64
            library.tf_study_trace_data.restype = pointer
        else:
            library.tf_study_error.restype = ctypes.c_char_p

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_") or "names" not in self.__dict__:
            raise AttributeError(name)
        return self.function(name)

    def __dir__(self):
        return [*super().__dir__(), *self.names.hosts]

    def function(self, name: str, restype=None) -> Callable:
        """Return the ``extern "C"`` function of this name.

        Args:
            name: as the source has it.
            restype: a ctypes type, for a function whose definition is not seen in the source (one that a macro
                writes or that stands in an ``extern "C"`` block); its arguments are passed unchecked.

        Raises:
            StudyError: if the source has no such function.
        """
        if name in self.names.hosts:
            export = self._export("host", self.names.hosts.index(name))
            return functools.partial(self._call, name, export)
        try:
            raw = getattr(self._library, name)
        except AttributeError:
            have = ", ".join(self.names.hosts) or "없음"
            raise StudyError(
                f'extern "C" 함수 {name}이(가) 소스에 없으니(있는 함수: {have}) 이름과 extern "C"를 확인하세요.'
            ) from None
        raw.restype = restype or ctypes.c_int
        return functools.partial(self._call_unseen, name, raw)

    def launch(self, kernel: str, grid, block, *arguments, shared: int = 0) -> None:
        """Run one kernel on NumPy arrays, without a host function.

        Every array is copied to the device; those behind pointers that are not ``const`` are copied back. One array
        given twice is one allocation.

        Args:
            kernel: the name of a ``__global__`` function that is no template, or an instance of a template that
                :func:`tf_study.cuda.build` was told of.
            grid: blocks, a number or up to three.
            block: threads of a block, a number or up to three.
            arguments: the kernel's.
            shared: bytes of dynamic shared memory.

        Raises:
            StudyError: if the launch is refused or the kernel fails.
        """
        if kernel not in self.names.kernels:
            have = ", ".join(self.names.kernels) or "없음"
            raise StudyError(
                f"커널 {kernel}을(를) 찾지 못했으니(있는 커널: {have}) 이름을 확인하고, 템플릿이면 cuda.build에"
                ' kernels=["이름<값>"]을 주세요.'
            )
        export = self._export("kernel", self.names.kernels.index(kernel))
        types = export.parameters[: export.count]
        with self._lock, self._running():
            arguments = _checked(kernel, types, arguments)
            grid_, block_ = _three(grid, "grid"), _three(block, "block")
            buffers: dict[int, tuple[ctypes.c_void_p, np.ndarray]] = {}
            values = []
            try:
                for value, kind in zip(arguments, types, strict=True):
                    if not isinstance(value, np.ndarray):
                        values.append(kind.ctype()(value))
                        continue
                    key = value.ctypes.data
                    if key not in buffers or buffers[key][1].nbytes < value.nbytes:
                        buffers[key] = (self._to_device(value), value)
                    values.append(buffers[key][0])
                pointers = (ctypes.c_void_p * max(1, len(values)))(*(ctypes.addressof(v) for v in values))
                call = ctypes.CFUNCTYPE(
                    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
                )
                code = call(export.call)(grid_, block_, shared, pointers)
                self._last = code
                back = {
                    v.ctypes.data
                    for v, t in zip(arguments, types, strict=True)
                    if t.pointer and not t.constant and v is not None
                }
                for key, (device, array) in buffers.items():
                    if key in back and not code:
                        self._library.tf_study_copy(array.ctypes.data, device, array.nbytes)
            finally:
                for device, _ in buffers.values():
                    self._library.tf_study_free(device)
        if code:
            raise StudyError(self.message)

    @contextlib.contextmanager
    def schedule(self, n: int) -> Iterator[None]:
        """Let blocks and threads run in order (0), backwards (-1) or in a random order with seed ``n`` > 0.

        A kernel that is right under several has no dependence on the order, which a GPU does not promise. On a GPU
        this changes nothing.
        """
        if self.backend == "emulator":
            self._library.tf_study_schedule(n)
        try:
            yield
        finally:
            if self.backend == "emulator":
                self._library.tf_study_schedule(0)

    @contextlib.contextmanager
    def tracing(self, limit: int = 4_000_000) -> Iterator[Trace]:
        """Record the memory accesses of the kernels that run in the block; read them after it.

        Args:
            limit: most accesses that are recorded, of 40 bytes each.

        Raises:
            StudyError: if the program was not built with ``trace=True``, or after the block if there were more.
        """
        if not self._traced:
            raise StudyError(
                "접근을 기록하도록 만든 프로그램이 아니니 cuda.build(source, trace=True)로 만드세요."
            )
        trace = Trace()
        self._library.tf_study_trace(limit)
        try:
            yield trace
            count = self._library.tf_study_trace_size()
            if count < 0:
                raise StudyError(
                    f"기록할 접근이 {limit:,}개를 넘었으니 입력을 줄이거나 tracing(limit=…)의 값을 늘리세요."
                )
            trace.load(self._library.tf_study_trace_data(), count)
        finally:
            self._library.tf_study_trace(0)

    @property
    def message(self) -> str:
        """What went wrong in the last call, one Korean sentence; empty if nothing did."""
        if self.backend == "emulator":
            return self._library.tf_study_message().decode("utf-8", "replace")
        return (
            f"CUDA 오류 {self._last}: {self._library.tf_study_error(self._last).decode()}"
            if self._last
            else ""
        )

    @property
    def allocations(self) -> int:
        """Live allocations of ``cudaMalloc``; more than 0 after a call is a leak."""
        return self._library.tf_study_allocations()

    def reset(self) -> None:
        """Forget the last error; in the emulator also free what was not freed."""
        self._last = 0
        if self.backend == "emulator":
            self._library.tf_study_reset()

    def _export(self, kind: str, number: int) -> _Export:
        function = getattr(self._library, f"tf_study_{kind}_{number}")
        function.restype = ctypes.POINTER(_Export)
        return function().contents

    def _call(self, name: str, export: _Export, *arguments):
        types = export.parameters[: export.count]
        call = ctypes.CFUNCTYPE(export.result.ctype(), *(t.ctype() for t in types))(export.call)
        with self._lock, self._running():
            result = call(*map(_passed, _checked(name, types, arguments)))
        self._last = result if isinstance(result, int) else 0
        if self.backend == "emulator" and self._library.tf_study_crashed():
            raise StudyError(self.message)
        return result

    def _call_unseen(self, name: str, raw, *arguments):
        values = [_guessed(name, number, value) for number, value in enumerate(arguments, 1)]
        with self._lock, self._running():
            return raw(*values)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Clear old errors before a call and show what it printed after it."""
        if self.backend != "emulator":
            yield
            return
        self._library.tf_study_begin()
        self._library.tf_study_seconds(self.seconds)
        try:
            yield
        finally:
            sys.stdout.write(self._library.tf_study_printed().decode("utf-8", "replace"))
            self._library.tf_study_forget_printed()

    def _to_device(self, array: np.ndarray) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        code = self._library.tf_study_malloc(ctypes.byref(device), array.nbytes)
        if not code and array.nbytes:
            code = self._library.tf_study_copy(device, array.ctypes.data, array.nbytes)
        if code:
            self._last = code
            raise StudyError(self.message)
        return device


def _three(size, name: str):
    """Return a grid or block as three unsigned numbers."""
    values = (size,) if isinstance(size, int | np.integer) else tuple(size)
    if not 1 <= len(values) <= 3 or any(not 0 <= v < 2**32 for v in values):
        raise StudyError(f"{name}은(는) 0 이상의 정수 하나나 셋까지의 튜플이어야 하니 {size!r}를 고치세요.")
    return (ctypes.c_uint * 3)(*values, *(1,) * (3 - len(values)))


def _checked(name: str, types: Sequence[_Type], arguments: Sequence) -> list:
    """Return the arguments, each an array, ``None`` or a number that the parameter can hold."""
    if len(arguments) != len(types):
        raise StudyError(f"{name}의 인수는 {len(types)}개인데 {len(arguments)}개를 주었으니 맞추세요.")
    return [_fit(name, number, t, v) for number, (t, v) in enumerate(zip(types, arguments, strict=True), 1)]


def _fit(name: str, number: int, kind: _Type, value):
    where = f"{name}의 {number}번째 인수"
    if kind.pointer:
        if value is None:
            return None
        _array(where, value)
        if kind.name() and value.dtype != kind.name():
            raise StudyError(
                f"{where}는 {kind.name()} 배열이어야 하는데 {value.dtype}이니 astype으로 바꾸세요."
            )
        if not kind.constant and not value.flags.writeable:
            raise StudyError(
                f"{where}에는 쓸 수 없는 배열이 왔으니 copy()로 쓸 수 있는 배열을 만들어 주세요."
            )
        return value
    if not kind.name():
        raise StudyError(f"{where}는 구조체라서 Python에서 줄 수 없으니 포인터나 수로 받게 고치세요.")
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if kind.kind == b"f" and isinstance(value, int | float):
        return float(value)
    if kind.kind == b"b" and isinstance(value, bool):
        return value
    if kind.kind in b"iu" and isinstance(value, int):
        limits = np.iinfo(kind.name())
        if limits.min <= value <= limits.max:
            return value
        raise StudyError(f"{where} {value}는 {kind.name()}의 범위를 벗어나니 줄이세요.")
    raise StudyError(
        f"{where}는 {kind.name()}이어야 하는데 {type(value).__name__} {value!r}를 주었으니 고치세요."
    )


def _array(where: str, value) -> None:
    if not isinstance(value, np.ndarray):
        raise StudyError(
            f"{where}는 NumPy 배열이어야 하는데 {type(value).__name__}이니 np.asarray로 바꾸세요."
        )
    if not value.flags.c_contiguous:
        raise StudyError(f"{where}는 메모리에 이어져 있지 않은 배열이니 np.ascontiguousarray로 복사하세요.")


def _passed(value):
    return value.ctypes.data if isinstance(value, np.ndarray) else value


def _guessed(name: str, number: int, value):
    """Return an argument for a function whose parameters are not known."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        value = int(value)
        return ctypes.c_int(value) if -(2**31) <= value < 2**31 else ctypes.c_longlong(value)
    if isinstance(value, float | np.floating):
        return ctypes.c_float(value)
    if value is None:
        return None
    _array(f"{name}의 {number}번째 인수", value)
    return ctypes.c_void_p(value.ctypes.data)


def load(
    source: str, trace: bool = False, backend: str | None = None, kernels: Sequence[str] = ()
) -> Program:
    """Build a CUDA source, or find it built, and load it; see :func:`tf_study.cuda.library`."""
    path = builder.library(source, trace=trace, backend=backend, kernels=kernels)
    on_gpu = backend == "nvcc" or (backend is None and not trace and builder.gpu_chosen())
    return Program(path, builder.exports(source, kernels), "nvcc" if on_gpu else "emulator", trace)
