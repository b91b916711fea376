"""Specifics of the C++ backend: instruction sets, threads, forks, interrupts, tile sizes.

tests/ops checks the results of all backends. This file adds larger volumes, with full tiles, several threads
and many coarse rows.
"""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import surfloss
from surfloss._check import Steps
from surfloss.backends import cpu
from surfloss.ops.edt import nearest_background
from tests.support import cases, volumes
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import hausdorff_error, squared_edt

REASON = surfloss.backend_status()["cpu"]
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=f"cpu: {REASON}"),
    pytest.mark.usefixtures("poisoned_scratch"),
]

UNIT, SLICES = [1.0, 1.0, 1.0], [5.0, 0.42, 0.42]


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every instruction set; skipped if this processor lacks it."""
    monkeypatch.setenv("SURFLOSS_CPU_ISA", request.param)
    try:
        squared_edt(torch.ones(1, 2, dtype=torch.bool), [1.0], None, True, "cpu")
    except RuntimeError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def threads() -> object:
    """A function that sets the number of threads, which is restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def diagonal(*shape: int, share: float = 0.5) -> Tensor:
    """Foreground on one side of a plane across the volume's corners."""
    grids = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape), indexing="ij")
    return (sum(grids) < share * len(shape))[None]


STRUCTURES = {
    "blob": cases.blob(1, 37, 70, 83),
    "half noise": cases.noise(1, 37, 70, 83),
    "sparse noise": cases.noise(1, 37, 70, 83, share=0.0002),
    "dense noise": cases.noise(1, 37, 70, 83, share=0.999),
    "diagonal": diagonal(37, 70, 83),
    "planes": (sum(torch.meshgrid(*(torch.arange(n) for n in (37, 70, 83)), indexing="ij")) % 29 == 0)[None],
    "stripes along x": (torch.arange(83) // 7 % 2 == 0).expand(1, 37, 70, 83).contiguous(),
    "stripes along y": (torch.arange(70) // 7 % 2 == 0).view(70, 1).expand(1, 37, 70, 83).contiguous(),
    "one slice": (torch.arange(37) == 11).view(37, 1, 1).expand(1, 37, 70, 83).contiguous(),
    "a corner": cases.few(37, 70, 83, at=((0, 0, 0),)),
    "deep": cases.noise(2, 131, 9, 35, share=0.99),
    "tall": cases.noise(2, 3, 261, 33, share=0.995),
    "long rows": cases.noise(2, 3, 5, 1100, share=0.998),
    "plane": cases.noise(2, 150, 211, share=0.99),
    "many small": cases.noise(300, 5, 6, 7, share=0.8),
}


@pytest.mark.parametrize("spacing", [UNIT, SLICES], ids=["unit", "slices"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_on_every_instruction_set(name: str, spacing: list[float], isa: str) -> None:
    mask = STRUCTURES[name]
    steps = spacing[-mask.ndim + 1 :]
    for two_sided in (True, False):
        got = squared_edt(mask, steps, None, two_sided, "cpu")
        right = squared_edt(mask, steps, None, two_sided, "reference")
        if spacing is UNIT:
            assert_equal(got, right, name)
        else:
            assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2, name)


@given(st.data())
def test_any_shape_on_any_instruction_set(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=3))
    share = data.draw(st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
    batch, seed = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 999))
    steps = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(shape), max_size=len(shape)))
    mask = cases.noise(batch, *shape, share=share, seed=seed)
    for isa in ("baseline", None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SURFLOSS_CPU_ISA", isa or "")
            assert_equal(squared_edt(mask, [1.0] * len(shape), None, True, "cpu"),
                         squared_edt(mask, [1.0] * len(shape), None, True, "reference"))  # fmt: skip
            got, right = (squared_edt(mask, steps, None, True, name) for name in ("cpu", "reference"))
            assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2)


def test_steps_that_sums_absorb(isa: str) -> None:
    """A step along z is tiny relative to one along y: rounded sums tie where exact sums do not."""
    for seed in range(200, 240):
        mask = cases.noise(1, 20, 6, 7, share=0.01, seed=seed)
        got, right = (squared_edt(mask, [0.002, 224.0, 0.009], None, True, b) for b in ("cpu", "reference"))
        assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2, f"seed {seed}")


@pytest.mark.parametrize("name", volumes.LABELS)
def test_real_labels(name: str, isa: str) -> None:
    volume, spacing = volumes.load(name)
    mask = torch.from_numpy(volumes.crop(volume, margin=9) != 0)[None].contiguous()
    got = squared_edt(mask, list(spacing), None, True, "cpu")
    right = squared_edt(mask, list(spacing), None, True, "reference")
    assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2, name)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_number_of_threads_changes_nothing(count: int, threads) -> None:
    mask = cases.noise(2, 24, 131, 197, share=0.99)
    input, target = mask.float() * 0.7, cases.blob(2, 24, 131, 197).float()
    answers = []
    for number in (1, count):
        threads(number)
        answers.append(
            (
                squared_edt(mask, SLICES, None, True, "cpu"),
                nearest_background(mask, SLICES, None, "cpu"),
                *hausdorff_error(input, target, None, None, False, 2.0, SLICES, None, "zero", "cpu"),
            )
        )
    for alone, together in zip(*answers, strict=True):
        assert torch.equal(alone, together)


def test_hausdorff_in_rounds(isa: str) -> None:
    """More voxels than one round of the library: every item must get its own arguments."""
    torch.manual_seed(1)
    shape = (40, 24, 61, 83)
    input, target = torch.rand(shape), cases.blob(*shape).float()
    item_spacing = 0.5 + torch.rand(40, 3, dtype=torch.float64)
    ignore = cases.noise(*shape, share=0.01, seed=3)
    few = slice(36, 40)
    for marked, known in itertools.product((None, ignore), (None, torch.rand(shape))):
        got = hausdorff_error(input, target, known, marked, False, 2.0, UNIT, item_spacing, "diagonal", "cpu")
        last = [None if value is None else value[few] for value in (input, target, known, marked)]
        right = hausdorff_error(*last, False, 2.0, UNIT, item_spacing[few], "diagonal", "reference")
        for ours, theirs in zip(got, right, strict=True):
            torch.testing.assert_close(ours[few], theirs, rtol=2e-6, atol=0)


def test_index_decides_ties_of_floats() -> None:
    """The nearer of two voxels that float32 cannot tell apart."""
    mask = cases.few(4001, 4001, at=((0, 4000), (4000, 1)), value=False)
    nearest = nearest_background(mask, [1.0, 1.0 + 1e-9], None, "cpu")[0, :, 2000, 2000]
    assert nearest.tolist() == [4000, 1]


def test_too_many_voxels() -> None:
    """Calls the internal function, so that the test does not allocate 10 GB."""
    with pytest.raises(ValueError, match=r"mask: got items of shape .*, wanted at most 2147483647 voxels"):
        cpu._call("edt", torch.Size([1, 2**11, 2**11, 2**9]), Steps(UNIT, None), [0, 0, 0], [1, 1])


@pytest.mark.parametrize("step", [1e-30, 1e25])
def test_spacing_outside_the_range_of_floats(step: float) -> None:
    with pytest.raises(ValueError, match=r"spacing: got .*, wanted steps whose squares"):
        surfloss.two_sided_edt(cases.noise(4, 5, 6), spacing=(1.0, step, 1.0), backend="cpu")
    with pytest.raises(ValueError, match=r"spacing: got .*, wanted steps whose squares"):
        surfloss.two_sided_edt(cases.noise(4, 5, 6), spacing=torch.tensor([1.0, step, 1.0]), backend="cpu")


def test_strides_are_no_matter() -> None:
    mask = cases.noise(31, 24, 17, share=0.9)
    for view in (mask.transpose(0, 2), mask[::2, ::3], mask.flip(1), mask[0].expand(9, 24, 17)):
        got = surfloss.two_sided_edt(view, squared=True, backend="cpu")
        assert_equal(got, surfloss.two_sided_edt(view, squared=True, backend="reference"))


def test_mask_bytes_other_than_one() -> None:
    """A bool from another library may hold any nonzero byte."""
    mask = cases.noise(1, 5, 6, 130)
    odd = (mask.to(torch.uint8) * 254).view(torch.bool)
    assert_equal(
        squared_edt(odd, UNIT, None, True, "cpu"), squared_edt(mask.clone(), UNIT, None, True, "reference")
    )


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [("sse9", ValueError, "got 'sse9', wanted one of baseline, avx2"), ("", None, "")],
)
def test_unknown_instruction_set(
    name: str, error: type[Exception] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURFLOSS_CPU_ISA", name)
    mask = cases.noise(3, 4, 5)
    if error is None:
        assert surfloss.two_sided_edt(mask, backend="cpu").isfinite().all()
    else:
        with pytest.raises(error, match=f"SURFLOSS_CPU_ISA: {words}"):
            surfloss.two_sided_edt(mask, backend="cpu")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_usable_after_a_fork(threads) -> None:
    threads(2)
    mask = cases.noise(64, 64, 128)
    right = surfloss.two_sided_edt(mask, backend="cpu")
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # PyTorch's thread pool does not survive a fork
        os._exit(0 if torch.equal(surfloss.two_sided_edt(mask, backend="cpu"), right) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_no_transform_waits_for_threads_that_a_fork_left_behind() -> None:
    """PyTorch's own operations hang once they have used OpenMP threads in the parent process."""
    code = textwrap.dedent("""
        import os, signal, sys, numpy, torch, surfloss
        torch.set_num_threads(2)
        mask = torch.rand(64, 64, 64) < 0.5
        dtypes = (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float32, torch.float64)
        masks = [mask.to(dtype) for dtype in dtypes]
        masks += [one.permute(2, 0, 1) for one in masks]
        def all_of_them():
            for one in masks:
                yield surfloss.two_sided_edt(one)
                yield surfloss.signed_distance(one)
                yield from surfloss.distance_transform_edt(one, return_indices=True)
        right = list(all_of_them())
        child = os.fork()
        if child == 0:
            signal.alarm(120)  # ends a process that hangs
            same = [numpy.array_equal(*pair) for pair in zip(all_of_them(), right, strict=True)]
            os._exit(not all(same))
        sys.exit(os.waitpid(child, 0)[1] != 0)
    """)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=300, check=True)


def test_interrupt_leaves_the_process_usable() -> None:
    """Ctrl-C during a call takes effect when the call returns; afterwards everything works."""
    code = textwrap.dedent("""
        import signal, torch, surfloss
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        mask = torch.rand(64, 256, 256) < 0.5
        surfloss.two_sided_edt(mask, backend="cpu")
        print("ready", flush=True)
        try:
            while True:
                surfloss.two_sided_edt(mask, backend="cpu")
        except KeyboardInterrupt:
            pass
        assert surfloss.two_sided_edt(mask[:4], backend="cpu").isfinite().all()
        print("fine", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "fine\n"
        assert process.returncode == 0
    finally:
        process.kill()


def _seconds(mask: Tensor, spacing: list[float]) -> float:
    times = []
    for _ in range(9):
        start = time.process_time()  # excludes other work on the machine
        squared_edt(mask, spacing, None, True, "cpu")
        times.append(time.process_time() - start)
    return min(times)


def test_structured_masks_cost_at_most_four_times_a_blob(threads) -> None:
    threads(1)
    shape = (48, 160, 160)
    grids = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    masks = {
        "diagonal": diagonal(*shape),
        "diagonal planes": (sum(grids) % 41 == 0)[None],
        "stripes": (grids[2] // 7 % 2 == 0)[None],
        "wall": (grids[1] == 50)[None],
        "lone points": cases.noise(1, *shape, share=1e-5),
        "a corner": cases.few(*shape, at=((0, 0, 0),)),
    }
    blob = _seconds(cases.blob(1, *shape), UNIT)
    slow = {name: round(_seconds(mask, UNIT) / blob, 2) for name, mask in masks.items()}
    assert max(slow.values()) < 4, slow


def test_agrees_with_scipy_by_numpy() -> None:
    """The complete call path, with sizes that fill every tile."""
    from scipy import ndimage

    volume = np.random.default_rng(0).random((30, 65, 129)) < 0.97
    for sampling in (None, (5.0, 0.42, 0.42)):
        got = surfloss.ndimage.distance_transform_edt(volume, sampling)
        np.testing.assert_allclose(got, ndimage.distance_transform_edt(volume, sampling), rtol=1e-14)
