"""The public names: all there, all listed, all documented, and reachable as the guide says."""

import importlib
import inspect

import pytest

import surfloss

MODULES = (
    "surfloss",
    "surfloss.functional",
    "surfloss.losses",
    "surfloss.presets",
    "surfloss.schedules",
    "surfloss.metrics",
    "surfloss.transforms",
)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_true(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        assert hasattr(module, public), public


def test_nothing_public_is_left_out() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        found = {
            key: value.__module__
            for key, value in vars(module).items()
            if not key.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            # The other modules define nothing themselves: what they import they export.
            and (name != "surfloss.presets" or value.__module__ == name)
        }
        # A module with definitions of its own imports what those need; the others re-export.
        defines = name in found.values()
        public = {key for key, source in found.items() if source == name or not defines}
        assert public, name
        assert public <= set(module.__all__), name


@pytest.mark.parametrize("name", MODULES)
def test_every_name_is_documented_and_typed(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        assert inspect.getdoc(value), public
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert signature.return_annotation is not inspect.Signature.empty, public
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, f"{public}({parameter.name})"


def test_names_of_the_contract() -> None:
    wanted = {
        "BoundaryLoss",
        "CompoundLoss",
        "ContourLoss",
        "DiceCELoss",
        "GeneralizedSurfaceLoss",
        "GradientRatioMonitor",
        "HausdorffConvLoss",
        "HausdorffDTLoss",
        "HausdorffERLoss",
        "LogHausdorffDTLoss",
        "SurfaceDiceLoss",
        "available_backends",
        "backend_status",
        "distance_transform_edt",
        "functional",
        "label_edt",
        "metrics",
        "ndimage",
        "presets",
        "schedules",
        "signed_distance",
        "two_sided_edt",
        "use_backend",
    }
    assert wanted <= set(surfloss.__all__)
    schedule = importlib.import_module("surfloss.losses.schedule")
    for name in ("Constant", "CosineRamp", "LinearWarmup", "Rebalance"):
        assert getattr(surfloss.schedules, name) is getattr(schedule, name)


def test_positional_arguments_are_monais() -> None:
    """What stands before the keyword-only arguments, in MONAI's order."""
    wanted = [
        "alpha",
        "include_background",
        "to_onehot_y",
        "sigmoid",
        "softmax",
        "other_act",
        "reduction",
        "batch",
    ]
    for loss in (surfloss.HausdorffDTLoss, surfloss.LogHausdorffDTLoss):
        parameters = inspect.signature(loss).parameters.values()
        assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == wanted
