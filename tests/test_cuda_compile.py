"""Device code without a GPU: PTX, machine code, registers; and NVIDIA's occupancy rules."""

import pytest

import cuda_sources
from tf_study import cuda
from tf_study.cuda import builder, nvrtc, tools
from tf_study.errors import StudyError

needs_nvidia = pytest.mark.skipif(
    nvrtc.path() is None or tools.tool("nvdisasm") is None,
    reason="make advanced가 설치합니다(리눅스 x86-64).",
)


@pytest.fixture(scope="module")
def add():
    return cuda.compile(cuda_sources.VECTOR_ADD)


@needs_nvidia
def test_ptx_and_machine_code_of_a_whole_source(add):
    """The host function is left out: NVRTC compiles device code only."""
    assert cuda.compile_available()
    assert ".target sm_90" in add.ptx and ".entry _Z3addPKfS0_Pfi(" in add.ptx and "vector_add" not in add.ptx
    assert add.cubin[:4] == b"\x7fELF" and add.names == {"add": "_Z3addPKfS0_Pfi"}


@needs_nvidia
def test_registers_and_shared_memory():
    kernels = ["tiled<16, true>", "tiled<32, true>"]
    for arch, system in {
        "sm_80": 0,
        "sm_90": 1024,
    }.items():  # What the system keeps is counted for sm_90 only.
        found = cuda.compile(cuda_sources.MATMUL, arch, kernels).resources()
        assert set(found) == {"swapped", "naive", *kernels}
        assert [found[kernel].shared - system for kernel in kernels] == [2 * 4 * t * t for t in (16, 32)]
        assert found["naive"].shared == 0 and 8 <= found["naive"].registers <= 255


@needs_nvidia
def test_the_instructions_of_a_kernel(add):
    code = add.instructions()["add"]
    names = [instruction.name for instruction in code]
    assert names.count("LDG.E") == 2 and names.count("STG.E") == 1 and names.count("FADD") == 1
    assert names[-1] == "EXIT" and "NOP" not in names
    assert [instruction.address for instruction in code] == [16 * k for k in range(len(code))]
    guarded = next(instruction for instruction in code if instruction.text.startswith("@"))
    assert guarded.name == "EXIT"
    text = add.sass()["add"].split("\n")
    assert len(text) == len(code) and text[0].startswith("/*0000*/ ") and "STG.E" in text[-2]


@needs_nvidia
def test_wide_loads_are_wide():
    names = [i.name for i in cuda.compile(cuda_sources.COPIES).instructions()["four"]]
    assert "LDG.E.128" in names and "STG.E.128" in names


@needs_nvidia
@pytest.mark.parametrize(
    ("source", "arch", "said"),
    [
        ("__global__ void k(float* x) {\n  x[0] = y;\n}", "sm_90", "2번째 줄에서 컴파일이 멈췄으니"),
        ("__global__ void k(float* x) {\n  x[0] = 1\n}", "sm_90", "번째 줄에서 컴파일이 멈췄으니"),
        (cuda_sources.VECTOR_ADD, "sm_12", "sm_12로 컴파일하지 못했으니"),
    ],
)
def test_errors_are_one_sentence(source, arch, said):
    with pytest.raises(StudyError) as error:
        cuda.compile(source, arch)
    assert said in str(error.value) and str(error.value).endswith("세요.") and "\n" not in str(error.value)


def test_without_the_packages_one_line_says_what_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr(nvrtc, "path", lambda: None)
    monkeypatch.setattr(tools, "_nvidia", lambda: None)
    nvrtc._library.cache_clear()
    assert not cuda.compile_available()
    assert capsys.readouterr().out == (
        "[생략] nvidia-cuda-nvrtc, triton 패키지가 없어 GPU 코드를 만들지 않았으니 리눅스에서 make advanced를 실행하세요.\n"
    )
    with pytest.raises(StudyError, match="NVRTC가 없어"):
        cuda.compile(cuda_sources.VECTOR_ADD)
    assert not cuda.occupancy_available()
    assert capsys.readouterr().out.startswith("[생략] triton 패키지가 없어 NVIDIA의 점유율 계산과")


def by_hand(gpu: tools.Gpu, registers: int, threads: int, shared: int) -> int:
    """The blocks that fit, from the rules of the CUDA C++ Programming Guide."""
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    by_registers = 65536 // 4 // per_warp * 4 // warps  # a warp lives in one of four partitions
    system, step = (1024, 128) if gpu.major >= 8 else (0, 256)
    bytes_ = -(-(shared + system) // step) * step
    by_shared = gpu.shared // bytes_ if bytes_ else gpu.blocks
    return min(gpu.threads // 32 // warps, by_registers, by_shared, gpu.blocks)


@pytest.mark.skipif(
    tools._header() is None or builder.compiler() is None, reason="triton 패키지와 C++ 컴파일러가 필요합니다."
)
def test_occupancy_is_nvidias():
    assert cuda.occupancy_available()
    checked = 0
    for name, gpu in cuda.GPUS.items():
        for registers in (16, 37, 40, 64, 96, 168, 255):
            for threads in (32, 96, 256, 480, 1024):
                for shared in (0, 100, 8192, 24576, 49152, 65536, 98304):
                    if shared <= gpu.shared_block and registers * threads <= 65536:
                        blocks = cuda.occupancy_reference(name, registers, threads, shared)
                        assert blocks == by_hand(gpu, registers, threads, shared), (
                            name,
                            registers,
                            threads,
                            shared,
                        )
                        checked += 1
    assert checked > 800
    with pytest.raises(StudyError, match="T4, A100"):
        cuda.occupancy_reference("V100", 32, 256)


def test_a_gpu_is_only_there_with_a_driver(monkeypatch):
    def missing(name):
        raise OSError(name)

    cuda.has_gpu.cache_clear()
    monkeypatch.setattr("tf_study.cuda.gpu.ctypes.CDLL", missing)
    assert not cuda.has_gpu()
    cuda.has_gpu.cache_clear()
