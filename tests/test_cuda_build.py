"""From source to library: errors with their line, the cache, compilers, what is translated and what is refused."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cuda_sources
from tf_study import cuda, doctor
from tf_study.cuda import builder, gpu, sites, translate
from tf_study.errors import StudyError

needs_compiler = pytest.mark.skipif(builder.compiler() is None, reason="C++ 컴파일러가 없습니다.")
V = cuda_sources.VECTOR_ADD
SMALL = 'extern "C" int answer() { return %d; }\n'


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(builder.CACHE_VARIABLE, str(tmp_path / "built"))
    return tmp_path / "built"


@needs_compiler
@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        (V.replace("size_t bytes = n * sizeof(float);", "size_t bytes = n * sizeof(float)"), (8, 9, 10), ";"),
        (V.replace("c[i] =", "d[i] ="), (4,), "d"),
        (V.replace("da, db, dc, n)", "da, db, dc)"), (12,), "add"),
        ("\n\n__global__ void k(float* x) { x = 1.5; }\n", (3,), ""),
        ("__global__ void k() {\n  __shared__ float s[2] = {1, 2};\n}", (2,), "초깃값 없이"),
        ("\n__shared__ float s[2];\n", (2,), "커널 안으로"),
        ("\n// wmma\n__global__ void k() { nvcuda::wmma::fill(); }", (3,), "wmma"),
        ('extern "C" int f() { return missing(); }', (1,), "missing"),
    ],
)
def test_an_error_is_one_sentence_with_the_line(source, line, said):
    with pytest.raises(StudyError) as error:
        cuda.build(source, backend="emulator")
    text = str(error.value)
    assert any(f"CUDA 소스의 {number}번째 줄" in text for number in line), text
    assert said in text and text.endswith("세요.") and "\n" not in text


@needs_compiler
def test_an_undefined_function_is_told():
    with pytest.raises((StudyError, OSError), match="missing"):
        cuda.build('int missing();\nextern "C" int f() { return missing(); }', backend="emulator")


@needs_compiler
@pytest.mark.parametrize("trace", [False, True])
def test_host_code_may_use_the_library_of_cpp(trace):
    """Most sources are linked without it."""
    source = """#include <string>
    #include <vector>
    extern "C" int longest(int n) {
      std::vector<std::string> words(n, "a");
      try { words.at(n) = "b"; } catch (const std::exception&) { words.push_back("three"); }
      return words.back().size();
    }"""
    assert cuda.build(source, trace=trace, backend="emulator").longest(3) == 5


@needs_compiler
def test_what_is_built_is_found_again_by_its_content(folder):
    first = builder.library(SMALL % 1, backend="emulator")
    changed = first.stat().st_mtime_ns
    assert first.parent == folder and builder.library(SMALL % 1, backend="emulator") == first
    assert first.stat().st_mtime_ns == changed
    other = builder.library(SMALL % 2, backend="emulator")
    assert other != first and builder.library(SMALL % 1, backend="emulator", flags=["-DX"]) not in (
        first,
        other,
    )
    assert cuda.build(SMALL % 1, backend="emulator").answer() == 1
    assert cuda.build(SMALL % 2, backend="emulator").answer() == 2  # Beside the other, in one process.
    for headers in folder.glob("headers-*/*"):
        headers.write_bytes(b"spoilt")
    assert cuda.build(SMALL % 3, backend="emulator").answer() == 3  # With the headers read anew.
    assert not list(folder.glob("tmp-*"))


@needs_compiler
def test_two_processes_may_build_the_same_source(folder):
    code = f"from tf_study import cuda; print(cuda.build({SMALL % 7!r}, backend='emulator').answer())"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate()[0] for process in both] == ["7\n", "7\n"]
    headers = [] if builder.compiler().clang else ["headers"]
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["emulator", *headers, "program"]


@needs_compiler
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(builder.CACHE_VARIABLE, str(tmp_path / "file" / "built"))
    with pytest.raises(StudyError, match=f"쓰지 못했으니.*{builder.CACHE_VARIABLE}에 다른 폴더를 적으세요"):
        cuda.build(SMALL % 3, backend="emulator")


@needs_compiler
def test_a_full_disk_is_one_sentence(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(builder.os, "replace", full)
    with pytest.raises(StudyError, match=r"No space left on device\) 권한과 빈 공간을 확인"):
        cuda.build(SMALL % 3, backend="emulator")
    said = "/tmp/x.s: error: No space left on device"
    assert "빈 공간" in str(builder._error(said, folder))


def test_without_a_compiler_one_line_says_what_is_skipped(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not cuda.available()
    assert (
        capsys.readouterr().out
        == f"[생략] C++ 컴파일러가 없어 CUDA 소스를 실행하지 않았으니 {builder.REMEDY}.\n"
    )
    with pytest.raises(StudyError, match=r"C\+\+ 컴파일러가 없어"):
        cuda.build(V, backend="emulator")
    finding = doctor.cpp_compiler()
    assert not finding.good and not finding.required and builder.REMEDY in finding.remedy


def test_a_compiler_that_only_says_what_to_install_does_not_count(monkeypatch, capsys, tmp_path):
    stub = tmp_path / "g++"
    stub.write_text("#!/bin/sh\necho 'no developer tools were found' >&2\nexit 1\n")
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert builder.compiler() is None and not cuda.available()
    stub.write_text(
        '#!/bin/sh\ntest "$1" = --version && exit 0\necho "fatal error: no cc1plus" >&2\nexit 1\n'
    )
    monkeypatch.setenv(builder.CACHE_VARIABLE, str(tmp_path / "built"))
    monkeypatch.setenv("CXX", str(stub))  # One that starts but has lost its parts.
    assert not cuda.available()
    assert "에뮬레이터를 만들지 못해" in capsys.readouterr().out


@needs_compiler
def test_the_compiler_of_the_environment_comes_first(monkeypatch, tmp_path):
    found = builder.compiler()
    wrapper = tmp_path / "my compiler"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which(found.command[0])} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{wrapper}' -DANSWER=42")
    assert builder.compiler().command == (str(wrapper), "-DANSWER=42")
    assert cuda.build('extern "C" int answer() { return ANSWER; }', backend="emulator").answer() == 42
    finding = doctor.cpp_compiler()
    assert finding.good and str(wrapper) in finding.text


def test_backends(monkeypatch):
    with pytest.raises(StudyError, match="opencl"):
        cuda.build(V, backend="opencl")
    with pytest.raises(StudyError, match="에뮬레이터에서만"):
        cuda.build(V, trace=True, backend="nvcc")
    monkeypatch.setattr(gpu, "nvcc", lambda: None)
    with pytest.raises(StudyError, match="nvcc가 없으니"):
        cuda.build(V, backend="nvcc")
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setenv("TF_STUDY_DEVICE", "gpu")
    assert not builder.gpu_chosen()  # A driver alone does not build.
    monkeypatch.setattr(gpu, "nvcc", lambda: "nvcc")
    assert builder.gpu_chosen()
    monkeypatch.setenv("TF_STUDY_DEVICE", "cpu")
    assert not builder.gpu_chosen()


@pytest.mark.skipif(gpu.nvcc() is None, reason="nvcc가 없습니다.")
def test_nvcc_builds_the_same_source():
    program = cuda.build(cuda_sources.MATMUL + V, backend="nvcc", kernels=cuda_sources.TILED)
    a = np.ones(64, "float32")
    c = np.zeros_like(a)
    code = program.vector_add(a, a, c, 64, 32)
    assert program.backend == "nvcc" and program.allocations == 0
    if cuda.has_gpu():
        assert code == 0 and program.message == "" and (c == 2).all()
    else:
        assert code and program.message.startswith(f"CUDA 오류 {code}: ")
    with pytest.raises(StudyError, match="float64"):
        program.launch("add", 1, 64, a.astype(float), a, c, 64)
    with pytest.raises(StudyError, match="2번째 줄에서 컴파일이 멈췄으니"):
        cuda.build("__global__ void k() {\n  int x = y;\n}", backend="nvcc")


def test_translation_keeps_lines_and_leaves_comments_and_strings():
    source = (
        cuda_sources.MATMUL
        + cuda_sources.REDUCE
        + 'const char* s = "k<<<1, 2>>>(x)";  // __shared__ int z;\n'
    )
    translated = translate.emulated(source).split("\n")
    lines = source.split("\n")
    assert len(translated) == len(lines) and translated[-2] == lines[-2]
    changed = [line.strip() for line, before in zip(translated, lines, strict=True) if line != before]
    assert changed[0] == (
        "auto& sa = cuda_emulator::shared<float[T][T], __COUNTER__>();"
        " auto& sb = cuda_emulator::shared<float[T][T], __COUNTER__>();"
    )
    assert "float* s = cuda_emulator::dynamic_shared<float>();" in changed
    assert translate.emulated("k<a, 2><<<dim3(1, 2),\n 3>>>(x);\n").split("\n") == [
        "cuda_emulator::launcher([&](auto... a) { k<a, 2>(a...); }, dim3(1, 2),",
        " 3)(x);",
        "",
    ]


def test_names_that_can_be_called():
    source = """
    extern "C" int host(int a) { return a; }
    extern "C" __global__ void kernel(float* x) {}
    static __global__ void __launch_bounds__(256) bounded(int n) {}
    template <int T> __global__ void of_a_template(float* x) {}
    __global__ void twice(int) {}
    __global__ void twice(float) {}
    __global__ void only_declared(int);
    // __global__ void in_a_comment() {}
    namespace inner { __global__ void in_a_namespace() {} }
    extern "C" { __global__ void in_a_block() {} }
    __device__ float helper(float x) { return x; }
    """
    assert translate.names(source) == (("host",), ("kernel", "bounded", "in_a_block"))
    device = translate.device_only("#include <vector>\n" + source)
    assert "host" not in device and "vector" not in device and device.count("\n") == source.count("\n") + 1


# What gcc writes for x86-64 Linux and clang for arm64 macOS, shortened.
LINUX = """\t.file 1 "kernel.cu"
\t.file 2 "/usr/include/emulator.h"
add:
\t.cfi_startproc
\t.loc 1 4 3 view .LVU1
\tcall\t__tsan_read4@PLT
\t.loc 2 99 1
\tcall\t__tsan_write4@PLT
\t.cfi_startproc
\tcallq\t*%rax
"""
MACOS = """\t.section __TEXT,__text,regular,pure_instructions
\t.file 7 "/tmp" "kernel.cu"
_add:
\t.cfi_startproc
\t.loc 7 12 3 prologue_end
\tbl ___tsan_read4
\tblr x8
\tb _elsewhere
"""


def test_the_table_of_lines():
    text = sites.with_table(LINUX, "kernel.cu")
    assert (
        text.split("\t.data\n")[1].split()
        == (
            ".p2align 3 .globl tf_study_sites tf_study_sites: .quad .Ltf_study_0, 4 .quad .Ltf_study_1, 4"
            " .quad .Ltf_study_2, 0 .quad 0, 0"
        ).split()
    )
    assert "call\t__tsan_read4@PLT\n.Ltf_study_0:\n" in text
    text = sites.with_table(MACOS, "kernel.cu")
    assert (
        text.split("\t.section __DATA,__const\n")[1].split()
        == (
            ".p2align 3 .globl _tf_study_sites _tf_study_sites: .quad Ltf_study_0, 12 .quad Ltf_study_1, 12 .quad 0, 0"
        ).split()
    )


def test_copies_of_whole_structs_reach_the_trace():
    """Of clang before 16; its own calls of the hooks, jumps to other labels and data stay as they are."""
    old = "\tcallq\tmemcpy@PLT\n\tbl\t_memset\n"
    rest = "\tcallq\t__tsan_memcpy@PLT\n\tcallq\tmemcpy_of@PLT\n\t.addrsig_sym memcpy\n"
    assert sites.hooked(old + rest) == "\tcallq\t__tsan_memcpy@PLT\n\tbl\t___tsan_memset\n" + rest


@needs_compiler
def test_a_library_for_another_loader(folder):
    """As an op of TensorFlow: its kernels run on the host's memory, nothing is called through Program."""
    source = """
    __global__ void twice(float* x, int n) { if (threadIdx.x < n) x[threadIdx.x] *= 2; }
    extern "C" int run(float* x, int n) { twice<<<1, 32>>>(x, n); return cudaGetLastError(); }
    """
    import ctypes

    x = np.arange(5, dtype="float32")
    library = ctypes.CDLL(str(cuda.library(source, host_memory=True)))
    assert library.run(ctypes.c_void_p(x.ctypes.data), 5) == 0 and list(x) == [0, 2, 4, 6, 8]
    library = ctypes.CDLL(str(cuda.library(source, backend="emulator")))
    assert library.run(ctypes.c_void_p(x.ctypes.data), 5) == 700
