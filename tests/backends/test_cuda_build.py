"""The CUDA kernels with NVIDIA's compilers, without a GPU: compilation, the cache, and errors."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import surfloss
from surfloss.backends.cuda import device
from tests.support import ptxas

KERNELS = {
    "rows_int", "rows_float", "columns_int", "columns_float", "nearest_float", "long_columns_float",
    "long_nearest_float", "follow", "hausdorff_float", "hausdorff_double", "mean_float", "mean_double",
}  # fmt: skip
needs_nvcc = pytest.mark.skipif(ptxas.missing() is not None, reason=str(ptxas.missing()))
needs_nvrtc = pytest.mark.skipif(device.compiler_problem() is not None, reason=str(device.compiler_problem()))


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "surfloss"


@pytest.fixture
def fresh_answers() -> Iterator[None]:
    """Clear the cached answers about this machine, before and after."""
    remembered = (device.problem, device.compiler_problem)  # the originals, even if a test replaces them
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


@needs_nvcc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_kernels_compile_without_warnings_and_hold_all_in_registers(architecture: str) -> None:
    usage = ptxas.usage(architecture)
    assert set(usage) == KERNELS
    for kernel, used in usage.items():
        if not kernel.startswith("long_"):  # axes of more than 1,600 voxels
            assert (used.stack, used.spills) == (0, 0), (kernel, used)
        # The launch bounds: 4 or 3 blocks of 256 threads on a multiprocessor with 65,536 registers.
        assert used.registers <= (64 if kernel.startswith("rows") else 80), (kernel, used)


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_nvrtc_compiles_the_same_sources(architecture: str, cache_folder: Path) -> None:
    code = device.compiled(architecture)
    assert code.startswith(b"\x7fELF")
    for kernel in KERNELS:
        assert kernel.encode() in code
    assert [path.name for path in cache_folder.iterdir()] == [
        f"kernels-{device._fingerprint()}-{architecture}.cubin"
    ]


@needs_nvrtc
def test_what_is_compiled_is_kept(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(device, "_compile", lambda architecture: (calls.append(architecture), b"code")[1])
    assert device.compiled("sm_90") == device.compiled("sm_90") == b"code"
    device.compiled("sm_80")
    assert calls == ["sm_90", "sm_80"]
    assert len(list(cache_folder.iterdir())) == 2


@needs_nvrtc
def test_the_cache_is_made_for_its_user_alone(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_compile", lambda _: b"code")
    before = os.umask(0)
    try:
        device.compiled("sm_90")
    finally:
        os.umask(before)
    (kept,) = cache_folder.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (cache_folder, kept)] == [0o700, 0o600]


@needs_nvrtc
@pytest.mark.parametrize("which", ["folder", "file"])
@pytest.mark.parametrize("fault", ["of another user", "writable by the group", "writable by all"])
def test_code_that_others_may_have_written_is_refused(
    which: str, fault: str, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_compile", lambda _: b"code")
    device.compiled("sm_90")
    (kept,) = cache_folder.iterdir()
    path = cache_folder if which == "folder" else kept
    if fault == "of another user":
        mine = os.geteuid()
        plain = device._refuse_foreign

        def as_another(where: Path, status: os.stat_result) -> None:
            monkeypatch.setattr(os, "geteuid", lambda: mine + (where == path))
            plain(where, status)

        monkeypatch.setattr(device, "_refuse_foreign", as_another)
    else:
        path.chmod(path.stat().st_mode | (0o020 if "group" in fault else 0o002))
    with pytest.raises(
        RuntimeError, match=rf"^cache of compiled kernels: got {path} of user .*, wanted .*own"
    ):
        device.compiled("sm_90")


@needs_nvrtc
@pytest.mark.parametrize("to", ["a folder", "nowhere"])
def test_a_link_in_place_of_the_cache_is_refused(
    to: str, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_compile", lambda _: b"code")
    elsewhere = tmp_path / "elsewhere"
    if to == "a folder":
        elsewhere.mkdir(0o700)
    cache_folder.symlink_to(elsewhere)
    with pytest.raises(RuntimeError, match=r"^cache of compiled kernels: got .*not a link"):
        device.compiled("sm_90")


@needs_nvrtc
def test_another_source_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = device._fingerprint()
    for path in ptxas.SOURCES.glob("*.cu*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(device, "_source_folder", lambda: tmp_path)
    assert device._fingerprint.__wrapped__() == before
    (tmp_path / "edt.cu").write_text("// changed")
    assert device._fingerprint.__wrapped__() != before


@needs_nvrtc
def test_without_a_place_to_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(device, "_compile", lambda _: b"code")
    assert device.compiled("sm_90") == b"code"


@needs_nvrtc
def test_an_architecture_that_nvrtc_does_not_know(cache_folder: Path) -> None:
    with pytest.raises(Exception, match=r"invalid value for --gpu-architecture"):
        device.compiled("sm_35")
    assert not cache_folder.exists()


@needs_nvrtc
def test_cuda_core_takes_the_arguments() -> None:
    from cuda.core._kernel_arg_handler import ParamHolder

    ParamHolder(
        (device.pointer(None), device.int32(1), device.int64(2), device.float32(0.5), device.float64(2.0))
    )


@pytest.mark.usefixtures("fresh_answers")
@pytest.mark.parametrize(
    ("name", "replacement", "reason"),
    [
        ("_is_installed", lambda module: module != "cuda.core", "cuda-core is not installed (`pip install"),
        ("_is_installed", lambda module: module != "cuda.bindings", "cuda-bindings is not installed"),
        ("_source_folder", lambda: Path("/nowhere"), "this installation lacks the kernels' sources"),
    ],
)
def test_what_is_missing_is_named(
    name: str, replacement: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, name, replacement)
    assert surfloss.backend_status()["cuda"].startswith(reason)


@pytest.mark.usefixtures("fresh_answers")
def test_a_missing_nvrtc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[int, int]:
        raise RuntimeError("libnvrtc.so not found\nsearched everywhere")

    monkeypatch.setattr(device, "_is_installed", lambda _: True)
    monkeypatch.setattr(device, "_nvrtc_version", broken)
    assert (
        device.compiler_problem()
        == "NVRTC, which comes with PyTorch's CUDA builds, does not load: libnvrtc.so not found"
    )


@pytest.mark.usefixtures("fresh_answers")
@pytest.mark.parametrize(
    ("available", "capability", "reason"),
    [
        (False, None, "PyTorch finds no NVIDIA GPU or driver, or was built without CUDA"),
        (True, (6, 1), "An old GPU is sm_61, older than sm_70"),
        (True, (9, 0), None),
    ],
)
def test_the_gpu_is_looked_at(
    available: bool, capability: tuple[int, int] | None, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "compiler_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "An old GPU")
    assert surfloss.backend_status()["cuda"] == reason


def test_naming_it_for_another_device_or_without_a_gpu_raises() -> None:
    with pytest.raises(
        RuntimeError, match="backend: got 'cuda' for a tensor on cpu, wanted a backend that runs there"
    ):
        surfloss.two_sided_edt(torch.ones(2, 2, 2), backend="cuda")


@needs_nvrtc
def test_a_launch_goes_to_the_current_stream_with_all_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch and the driver are mocked, since there is no GPU."""
    import cuda.core
    from cuda.bindings import driver

    calls = []
    library = SimpleNamespace(get_kernel=lambda name: SimpleNamespace(handle=f"handle of {name}"))
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(device, "shared_bytes_limit", lambda _: 99 * 1024)
    monkeypatch.setattr(device, "_library", lambda _: library)
    success = (driver.CUresult.CUDA_SUCCESS,)
    monkeypatch.setattr(driver, "cuKernelSetAttribute", lambda *args: (calls.append(args), success)[1])
    monkeypatch.setattr(cuda.core, "launch", lambda *args: calls.append(args))
    made_current = []
    monkeypatch.setattr(
        cuda.core, "Device", lambda index: SimpleNamespace(set_current=lambda: made_current.append(index))
    )
    device._kernel.cache_clear()
    argument = device.int32(5)
    for _ in range(2):
        device.launch("rows_int", 11, (32, 8), 512, [argument], torch.device("cuda", 3))
    device._kernel.cache_clear()
    (attribute, limit, handle, where), *launches = calls
    assert "MAX_DYNAMIC_SHARED_SIZE_BYTES" in str(attribute)
    assert (limit, handle, int(where)) == (99 * 1024, "handle of rows_int", 3)
    assert len(launches) == 2
    assert made_current == [3, 3]
    stream, config, kernel, *arguments = launches[0]
    assert stream.__cuda_stream__() == (0, 7)
    assert (config.grid, config.block, config.shmem_size) == ((11, 1, 1), (32, 8, 1), 512)
    assert kernel.handle == handle
    assert arguments == [argument]
