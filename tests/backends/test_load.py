"""Loading the compiled library: once, lazily, and with a reason if it fails."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import surfloss
from surfloss.backends import _load


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the library in a fake installation; no file exists at first."""
    path = tmp_path / "libsurfloss_cpu.so"
    monkeypatch.setattr(_load, "cpu_library_path", lambda: path if path.is_file() else None)
    _load.cpu_library.cache_clear()
    yield path
    _load.cpu_library.cache_clear()


@pytest.mark.usefixtures("installation")
def test_without_a_library_the_reference_answers() -> None:
    assert surfloss.backend_status()["cpu"] == "this installation has no compiled library"
    mask = torch.tensor([[[True, False, False]]])
    assert surfloss.two_sided_edt(mask).tolist() == [[[1.0, 1.0, 2.0]]]


@pytest.mark.usefixtures("installation")
def test_naming_the_missing_backend_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"backend: got 'cpu'.*has no compiled library"):
        surfloss.two_sided_edt(torch.ones(2, 2, 2), backend="cpu")


def test_a_file_that_does_not_load(installation: Path) -> None:
    installation.write_bytes(b"not a library")
    reason = surfloss.backend_status()["cpu"]
    assert str(installation) in reason
    assert "does not load" in reason
    installation.unlink()
    assert surfloss.backend_status()["cpu"] == reason, "a failure is remembered"
    with pytest.raises(RuntimeError, match="does not load"), surfloss.use_backend("cpu"):
        surfloss.two_sided_edt(torch.ones(2, 2, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a library that is surely there")
def test_another_library_is_refused(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.touch()
    monkeypatch.setattr(ctypes, "CDLL", lambda path: ctypes.PyDLL(None))
    assert "has interface None, this package wants" in surfloss.backend_status()["cpu"]


def test_import_loads_nothing() -> None:
    code = (
        "import sys, surfloss; from surfloss.backends import _load; "
        "assert _load.cpu_library.cache_info().currsize == 0 and 'surfloss.backends.cpu' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
