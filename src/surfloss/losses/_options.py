"""The options that all losses of channels share, and the modules that keep a loss's options."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias, TypedDict

import torch
from torch import Tensor, nn

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.losses import _prepare
from surfloss.ops._select import check_backend

Activation: TypeAlias = Callable[[Tensor], Tensor]
Reduction: TypeAlias = Literal["mean", "sum", "none"]


class Prepared(NamedTuple):
    """Prediction and target, channel by channel."""

    prediction: Tensor  # (batch, channels, *spatial), float32 or float64
    target: Tensor  # the same shape and dtype, or bool
    ignore: Tensor | None  # (batch, 1, *spatial), bool: voxels that count for nothing


class InputKeywords(TypedDict, total=False):
    """The options of `InputOptions` as keyword arguments of a function."""

    include_background: bool
    to_onehot_y: bool
    sigmoid: bool
    softmax: bool
    other_act: Activation | None
    reduction: Reduction
    batch: bool
    ignore_index: int | None
    validate: bool | None


@dataclass(frozen=True)
class InputOptions:
    """How a loss reads logits and labels, and how it reduces its values.

    The options that MONAI's losses have too have its names, order and meaning.

    Args:
        include_background: whether channel 0 counts; a single channel always does.
        to_onehot_y: the target holds labels `(batch, 1, *spatial)`, otherwise channels of 0 and 1.
        sigmoid, softmax, other_act: the activation that makes the input probabilities, one at most. Without
            one the input must hold probabilities already.
        reduction: "mean" or "sum" over items and channels, or "none": `(batch, channels, 1, ...)`.
        batch: average over the batch before the reduction.
        ignore_index: label of voxels that have no error, no gradient, and belong to neither side. They still
            count in the number of voxels.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.

    Raises:
        TypeError, ValueError: on an option of another form, or more than one activation.
    """

    include_background: bool = False
    to_onehot_y: bool = False
    sigmoid: bool = False
    softmax: bool = False
    other_act: Activation | None = None
    reduction: Reduction = "mean"
    batch: bool = False
    ignore_index: int | None = None
    validate: bool | None = None

    @classmethod
    def of(cls, options: InputKeywords) -> Self:
        """The options that a function was called with.

        Raises:
            TypeError: on a keyword that is none of them, beside the errors of the class.
        """
        names = cls.__annotations__
        for name in options:
            if name not in names:
                fail(
                    name,
                    "an option that this loss does not have",
                    f"its own or {', '.join(names)}",
                    TypeError,
                )
        _prepare.check_flags(options)
        return cls(**options)

    def __post_init__(self) -> None:
        _prepare.check_ignore_index(self.ignore_index)
        if self.other_act is not None and not callable(self.other_act):
            fail("other_act", type(self.other_act).__name__, "None or a callable", TypeError)
        activations = (("sigmoid", self.sigmoid), ("softmax", self.softmax), ("other_act", self.other_act))
        chosen = [name for name, given in activations if given]
        if len(chosen) > 1:
            fail(" and ".join(chosen), "set together", "one activation at most")
        _prepare.check_choice("reduction", self.reduction, Reduction)

    def prepare(
        self,
        input: Tensor,
        target: Tensor,
        *,
        bool_target: bool = False,
        fused_sigmoid: bool = False,
        check_values: bool = True,
    ) -> Prepared:
        """Apply the activation, turn labels into channels, drop the background.

        Half precision is computed in float32, also under autocast: squared distances overflow float16.

        Args:
            input: `(batch, channels, *spatial)`, 2-D or 3-D, floating.
            target: channels in the input's shape, or labels `(batch, 1, *spatial)`.
            bool_target: leave a target that is bool by then as it is; otherwise it gets the prediction's
                dtype.
            fused_sigmoid: the caller's operator applies the sigmoid, so the prediction remains the logits.
            check_values: False if the caller's operator checks the values.

        Raises:
            TypeError, ValueError: on a shape, dtype or device that does not fit, and where values may be read
                (`validate`) on NaN or infinity, on values that are no probabilities without an activation,
                and on labels outside the classes.
        """
        _prepare.check_tensors(input, target)
        channels = input.shape[1]
        softmax, to_onehot_y, background = self.softmax, self.to_onehot_y, self.include_background
        if channels == 1:
            _prepare.warn_single_channel("softmax=True", softmax)
            _prepare.warn_single_channel("to_onehot_y=True", to_onehot_y)
            _prepare.warn_single_channel("include_background=False", not background)
            softmax, to_onehot_y, background = False, False, True
        _prepare.holds_labels(target, channels, to_onehot_y)
        input, target, ignore = _prepare.without_ignored(input, target, self.ignore_index, to_onehot_y)
        activated = self.sigmoid or softmax or self.other_act is not None
        classes = channels if to_onehot_y else None
        if check_values:
            _prepare.check_values(input, target, classes, self.validate, probabilities=not activated)

        prediction = _prepare.full_precision(input)
        with _prepare.without_autocast(input.device.type):  # `other_act` may do what autocast takes to half
            if self.sigmoid and not fused_sigmoid:
                prediction = torch.sigmoid(prediction)
            elif softmax:
                prediction = torch.softmax(prediction, 1)
            elif self.other_act is not None:
                prediction = _prepare.activated(self.other_act, prediction)
        first = 0 if background else 1
        target = _prepare.onehot(target, channels, first) if to_onehot_y else target[:, first:]
        if not (bool_target and target.dtype == torch.bool):
            target = target.to(prediction.dtype)
        return Prepared(prediction[:, first:], target, ignore)

    def reduce(self, values: Tensor) -> Tensor:
        """Reduce the values `(batch, channels, 1, ...)` of equally large items.

        Returns:
            A scalar, or with "none" `(batch or 1, channels, 1, ...)`.

        Raises:
            ValueError: on a mean over an empty batch, which would be NaN.
        """
        if (self.batch or self.reduction == "mean") and not len(values):
            wanted = "one item or more, or reduction='sum' or 'none' without `batch`"
            fail("input", "an empty batch", wanted)
        if self.batch:
            values = values.mean(0, keepdim=True)
        if self.reduction == "mean":
            return values.mean()
        return values.sum() if self.reduction == "sum" else values


class LossModule(nn.Module):
    """A loss's function as a module: its options are attributes, and a call hands them to the function."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, function: Callable[..., Tensor], arguments: dict[str, Any]) -> None:
        """Keep the function and its options: `arguments` is `locals()` where the subclass's body starts."""
        super().__init__()
        _prepare.check_flags(arguments)
        self._function = function
        self._options = tuple(name for name in arguments if name not in ("self", "__class__"))
        for name in self._options:
            value = arguments[name]
            # Python's numbers are constants of a compiled graph, NumPy's and PyTorch's are data, on which
            # nothing may depend. A spacing for each item may be such data.
            plain = _check.plain_spacing(value) if name == "spacing" else _check.plain(value)
            setattr(self, name, plain)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss.

        Args:
            input: `(batch, channels, *spatial)`, 2-D or 3-D, floating: logits with an activation, otherwise
                probabilities. float16 and bfloat16 are computed in float32.
            target: labels `(batch, 1, *spatial)` with `to_onehot_y`, otherwise channels of 0 and 1 in the
                input's shape.

        Returns:
            A scalar, or with `reduction="none"` one value per item and channel; float32, or float64 for such
            input.
        """
        return self._call(input, target)

    def _call(self, input: Tensor, target: Tensor, **given: Any) -> Tensor:
        """The function with the module's options, but for those that are given and not None."""
        options = {name: getattr(self, name) for name in self._options}
        for name, value in given.items():
            if value is not None:
                options[name] = value
        return self._function(input, target, **options)

    def extra_repr(self) -> str:
        options = [(name, getattr(self, name)) for name in self._options]
        shown = [pair for pair in options if not isinstance(pair[1], (nn.Module, type(None)))]
        return ", ".join(f"{name}={value!r}" for name, value in shown)


class ChannelLoss(LossModule):
    """A loss of channels, with the options of `InputOptions` among its own."""

    def __init__(self, function: Callable[..., Tensor], arguments: dict[str, Any]) -> None:
        super().__init__(function, arguments)
        InputOptions(**{field.name: getattr(self, field.name) for field in fields(InputOptions)})
        check_backend("backend", arguments.get("backend"))


class SpacedLoss(ChannelLoss):
    """A loss with a `spacing`."""

    def forward(self, input: Tensor, target: Tensor, *, spacing: SpacingLike = None) -> Tensor:
        """The loss: see `LossModule.forward`; `spacing` is for this call alone, None for the module's own."""
        return self._call(input, target, spacing=spacing)


class DistanceLoss(SpacedLoss):
    """A loss whose target's distances may have been computed ahead."""

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        target_distance: Tensor | None = None,
        spacing: SpacingLike = None,
    ) -> Tensor:
        """The loss: see `LossModule.forward`, for `spacing` `SpacedLoss.forward`.

        `target_distance` is that of the loss's function, or None.
        """
        return self._call(input, target, target_distance=target_distance, spacing=spacing)
