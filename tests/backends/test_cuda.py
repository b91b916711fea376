"""The CUDA kernels and their adapter without a GPU: kernels compiled for the CPU, one fiber per thread.

Most tests are those of the operators, run on this backend. test_cuda_build.py checks the compiled kernels.
"""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import surfloss
from surfloss._check import Steps
from surfloss.backends import cuda, reference
from surfloss.backends._interface import HausdorffArguments
from surfloss.backends.cuda import device
from surfloss.ops import _select
from tests.ops import test_edt as edt_tests
from tests.ops import test_hausdorff as hausdorff_tests
from tests.support import cases, cuda_shim
from tests.support.cases import MASK_SAMPLES, MaskSample
from tests.support.compare import assert_equal, assert_within_ulp

pytestmark = [
    pytest.mark.skipif(cuda_shim.missing() is not None, reason=str(cuda_shim.missing())),
    pytest.mark.usefixtures("poisoned_scratch"),
]

UNIT, SLICES = [1.0, 1.0, 1.0], [5.0, 0.42, 0.42]
SHORT = [sample for sample in MASK_SAMPLES if max(sample.mask.shape) < 1000]
LONG = [sample for sample in MASK_SAMPLES if max(sample.mask.shape) > 1000]
# The search without bounds, of every 512th row, is slow on a CPU if columns have no near candidates.
LONG = [sample for sample in LONG if "background" in sample.name or "axis 2" in sample.name]


def named(sample: object) -> str:
    return sample.name if isinstance(sample, MaskSample) else str(sample)


@pytest.fixture
def shared_bytes() -> int:
    """Bytes of shared memory of a block."""
    return cuda_shim.H100_SHARED_BYTES


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch, shared_bytes: int) -> str:
    """The name of the backend, set up to run on CPU tensors."""
    row = _select.Backend("cuda", "surfloss.backends.cuda", automatic_on=(), named_on=("cpu",))
    others = [other for other in _select.TABLE if other.name != "cuda"]
    monkeypatch.setattr(_select, "TABLE", (row, *others))
    monkeypatch.setattr(device, "launch", cuda_shim.launch)
    monkeypatch.setattr(device, "shared_bytes_limit", lambda _: shared_bytes)
    return "cuda"


@pytest.mark.parametrize("two_sided", [False, True], ids=["one-sided", "two-sided"])
@pytest.mark.parametrize("sample", SHORT, ids=named)
def test_distance_is_exact(sample: MaskSample, two_sided: bool, backend: str) -> None:
    edt_tests.test_distance_is_exact(sample, two_sided, backend)


@pytest.mark.parametrize("value", [True, False], ids=["one foreground", "one background"])
def test_distances_of_more_and_less_than_16_bits(value: bool, backend: str) -> None:
    """With equal steps, short distances are computed in 16-bit pairs and longer ones are not."""
    mask = cases.few(300, 40, at=((3, 2), (3, 3)), value=value)
    for scale in (1.0, 0.5):
        squared = surfloss.two_sided_edt(mask, spatial_dims=2, spacing=scale, squared=True, backend=backend)
        right = reference.edt(mask, Steps([scale] * 2, None), "two_sided", True)
        assert right.max() > 2**16 * scale**2
        assert_equal(squared, right)


@pytest.mark.parametrize("sample", LONG, ids=named)
def test_long_axes(sample: MaskSample, backend: str) -> None:
    edt_tests.test_distance_is_exact(sample, True, backend)


@pytest.mark.parametrize("shared_bytes", [0])
@pytest.mark.parametrize("sample", SHORT[::3], ids=named)
def test_without_shared_memory(sample: MaskSample, backend: str) -> None:
    """As if an axis were too long for shared memory."""
    edt_tests.test_distance_is_exact(sample, True, backend)
    edt_tests.test_index_leads_to_a_nearest_background_voxel(sample, backend)


@pytest.mark.parametrize("sample", SHORT, ids=named)
def test_index_leads_to_a_nearest_background_voxel(sample: MaskSample, backend: str) -> None:
    edt_tests.test_index_leads_to_a_nearest_background_voxel(sample, backend)


@pytest.mark.parametrize("sample", SHORT[::2], ids=named)
def test_root_and_sign(sample: MaskSample, backend: str) -> None:
    edt_tests.test_root_and_sign(sample, backend)


test_every_number_but_zero_is_foreground = edt_tests.test_every_number_but_zero_is_foreground
test_item_spacing_gives_each_item_its_own = edt_tests.test_item_spacing_gives_each_item_its_own
test_item_spacing_of_indices = edt_tests.test_item_spacing_of_indices


@pytest.mark.parametrize("name", edt_tests.SAMPLES)
def test_opcheck_edt(name: str, backend: str) -> None:
    edt_tests.test_opcheck_edt(edt_tests.SAMPLES[name], "signed", False, backend)
    edt_tests.test_opcheck_nearest_background(edt_tests.SAMPLES[name], backend)


# All tests of the Hausdorff operator, except the one that compiles graphs.
for name, function in vars(hausdorff_tests).items():
    if name.startswith("test_") and "compiles" not in name:
        globals()[f"test_hausdorff_{name.removeprefix('test_')}"] = function


def both(mask: Tensor, spacing: list[float]) -> list[Tensor]:
    """The squared two-sided distance by the kernels and by the reference."""
    return [module.edt(mask, Steps(spacing, None), "two_sided", True) for module in (cuda, reference)]


@settings(max_examples=60)
@given(st.data())
def test_any_shape(data: st.DataObject) -> None:
    shape = data.draw(
        st.lists(st.integers(0, 40), min_size=1, max_size=3).filter(lambda s: math.prod(s) < 9000)
    )
    share = data.draw(st.sampled_from([0.0, 0.003, 0.05, 0.5, 0.95, 0.999, 1.0]))
    batch, seed = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 999))
    steps = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(shape), max_size=len(shape)))
    mask = cases.noise(batch, *shape, share=share, seed=seed)
    assert_equal(*both(mask, [1.0] * len(shape)))
    got, right = both(mask, steps)
    assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2)


def test_steps_that_sums_absorb() -> None:
    """A step along z is tiny relative to one along y: rounded sums tie where exact sums do not."""
    for seed in range(200, 215):
        mask = cases.noise(1, 20, 6, 7, share=0.01, seed=seed)
        got, right = both(mask, [0.002, 224.0, 0.009])
        assert_within_ulp(got.double().sqrt(), right.double().sqrt(), 2, f"seed {seed}")


@pytest.mark.parametrize("shape", [(1, 70, 9, 33), (2, 3, 140, 33), (1, 2, 3, 1100), (1, 70, 71)], ids=str)
def test_several_levels_and_chunks(shape: tuple[int, ...]) -> None:
    for share in (0.5, 0.998):
        mask, steps = cases.noise(*shape, share=share), SLICES[-len(shape) + 1 :]
        for spacing in ([1.0] * len(steps), steps):
            got, right = (
                module.edt(mask, Steps(spacing, None), "signed", False) for module in (cuda, reference)
            )
            assert_within_ulp(got, right, 2 if spacing is steps else 1)


@pytest.mark.parametrize("sigmoid", [False, True], ids=["probabilities", "logits"])
def test_hausdorff_of_many_blocks(sigmoid: bool) -> None:
    """Several blocks per item, with several rounds each; every run gives the same sums."""
    shape = (2, 3, 61, 83)
    input, target = torch.randn(shape), cases.blob(*shape)
    if not sigmoid:
        input = input.sigmoid()
    options = (None, None, None, sigmoid, 2.0, Steps(SLICES, None), "zero")
    arguments = HausdorffArguments(input, target, *options)
    got, again, right = (module.hausdorff_error(arguments) for module in (cuda, cuda, reference))
    for ours, same, theirs in zip(got, again, right, strict=True):
        assert torch.equal(ours, same)
        torch.testing.assert_close(ours, theirs, rtol=4e-6, atol=1e-7 * float(theirs.abs().max()))


def structures(n: int) -> dict[str, Tensor]:
    z, y, x = torch.meshgrid(*(torch.arange(n),) * 3, indexing="ij")
    return {
        "blob": cases.blob(1, n, n, n),
        "half noise": cases.noise(1, n, n, n),
        "a diagonal plane": (x + y + z < 3 * n // 2)[None],
        "diagonal stripes": ((x + y + z) // 5 % 2 == 0)[None],
        "lone voxels": cases.noise(1, n, n, n, share=3 / n**3, seed=2),
        "a corner": cases.few(n, n, n, at=((0, 0, 0),)),
        "empty": torch.zeros(1, n, n, n, dtype=torch.bool),
    }


@pytest.mark.parametrize("name", structures(4))
def test_candidates_a_voxel_are_bounded(name: str) -> None:
    """Two passes of three levels each. Brute force would read 2 n candidates per voxel."""
    n = 72
    cuda_shim.candidates()
    cuda.edt(structures(n)[name], Steps(UNIT, None), "two_sided", True)
    looked_at, slots = (count / n**3 for count in cuda_shim.candidates())
    # Per pass, at most 16 from the search without bounds and 8 per level; far fewer if something is near.
    if name == "empty":
        assert slots == 0
    else:
        assert 8 < looked_at <= slots < 40, slots


def test_undefined_behaviour_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integer overflow, oversized shifts and misaligned accesses would end the process."""
    monkeypatch.setattr(device, "launch", functools.partial(cuda_shim.launch, sanitize=True))
    for sample in [
        sample for sample in SHORT if sample.name in ("sparse noise", "2-D", "noise (3, 97, 2)", "batch 0")
    ]:
        for form in ("one_sided", "signed"):
            cuda.edt(sample.mask, Steps(list(sample.spacing), None), form, False)
            cuda.edt(sample.mask.double(), Steps([0.7] * len(sample.spacing), None), form, False)
        cuda.nearest_background(sample.mask, Steps(list(sample.spacing), None))
    input = torch.randn(2, 4, 5, 40)
    for empty in ("zero", "diagonal", "scipy"):
        for alpha in (1.0, 2.0, 2.5):
            options = (None, None, input > 1, True, alpha, Steps(SLICES, None), empty)
            cuda.hausdorff_error(HausdorffArguments(input, input > 9, *options))
    edge = cases.few(1, 23000, 2, at=((0, 0, 0),))
    cuda.edt(edge, Steps(UNIT, None), "two_sided", True)


@pytest.mark.parametrize("step", [1e-30, 1e25])
def test_spacing_outside_the_range_of_floats(step: float, backend: str) -> None:
    with pytest.raises(ValueError, match=r"spacing: got .*, wanted steps whose squares"):
        surfloss.two_sided_edt(cases.noise(4, 5, 6), spacing=(1.0, step, 1.0), backend=backend)


@pytest.mark.parametrize("sizes", [[2**11, 2**11, 2**9], [2, 2**25, 1]])
def test_too_large(sizes: list[int]) -> None:
    """Calls the check directly, so that the test does not allocate 10 GB."""
    with pytest.raises(ValueError, match=r"mask: got items of shape .*, wanted at most 2147483647 voxels"):
        cuda._check_range("mask", sizes, UNIT)
