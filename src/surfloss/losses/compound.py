"""Sums of weighted losses, and a look at how hard each one pulls."""

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surfloss._check import fail, is_real, whole
from surfloss.losses._prepare import full_precision
from surfloss.losses.schedule import Constant, Schedule


class CompoundLoss(nn.Module):
    """The sum of named losses, each under a weight that may change: sum of weight_i(t) * loss_i.

    Call `step()` once a training iteration. The schedules are part of `state_dict()`. The weights live in a
    buffer, so that a compiled graph reads them as data and stepping never recompiles or synchronizes.

    Args:
        terms: name to `(loss, weight)`; the weight is a number or a `Schedule`. The loss keeps a copy of a
            schedule, which only its own `step()` and `load_state_dict()` move; one may serve several terms.

    Raises:
        TypeError, ValueError: without terms, on a loss that is no module, a name that `torch.nn.ModuleDict`
            refuses, or a weight that is negative or not finite; in a call, if a loss gives no scalar.

    Example:
        >>> loss = CompoundLoss({
        ...     "dice_ce": (DiceCELoss(), 1.0),
        ...     "surface": (HausdorffDTLoss(softmax=True, to_onehot_y=True), LinearWarmup(1e-3, 5000)),
        ... })
    """

    last_terms: dict[str, Tensor]
    """The terms of the last call, without their weights, detached."""

    _weights: Tensor

    def __init__(self, terms: Mapping[str, tuple[nn.Module, float | Schedule]]) -> None:
        super().__init__()
        if not terms:
            fail("terms", "none", "a name and a (loss, weight) for each term")
        for name, term in terms.items():
            if not (isinstance(term, (tuple, list)) and len(term) == 2 and isinstance(term[0], nn.Module)):
                fail(f"terms[{name!r}]", repr(term), "a torch.nn.Module and its weight", TypeError)
        try:
            self.losses = nn.ModuleDict({name: loss for name, (loss, _) in terms.items()})
        except (KeyError, TypeError) as error:
            fail("terms", f"the names {list(terms)}", f"names that torch.nn.ModuleDict takes ({error})")
        self._schedules = {
            name: copy.deepcopy(weight) if isinstance(weight, Schedule) else Constant(weight)
            for name, (_, weight) in terms.items()
        }
        weights = torch.tensor(list(self.weights.values()), dtype=torch.float32)
        self.register_buffer("_weights", weights, persistent=False)
        self.last_terms = {}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Copies of the schedules as they are now, to look at: stepping them moves no weight of the loss."""
        return copy.deepcopy(self._schedules)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term now."""
        return {name: schedule.weight for name, schedule in self._schedules.items()}

    def terms(self, input: Tensor, target: Tensor, **options: dict[str, Any]) -> dict[str, Tensor]:
        """Each loss without its weight.

        Args:
            input, target: what every loss is called with.
            options: by the name of a term, more arguments for its loss, such as
                `surface={"spacing": spacing}`.
        """
        if unknown := set(options) - set(self.losses):
            fail("options", f"{sorted(unknown)}", f"names of terms: {', '.join(self.losses)}")
        terms = {name: loss(input, target, **options.get(name, {})) for name, loss in self.losses.items()}
        for name, term in terms.items():
            if term.ndim:
                fail(f"terms[{name!r}]", f"a loss of shape {tuple(term.shape)}", "one that gives a scalar")
        return terms

    def weighted(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms times their weights."""
        device = next(iter(terms.values())).device
        if self._weights.device != device:
            self._weights = self._weights.to(device)
        weights = self._weights.clone()  # autograd keeps it, and `step` may write before the backward pass
        return {name: weights[i] * term for i, (name, term) in enumerate(terms.items())}

    def forward(self, input: Tensor, target: Tensor, **options: dict[str, Any]) -> Tensor:
        """The weighted sum; the arguments are those of `terms`."""
        terms = self.terms(input, target, **options)
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(self.weighted(terms).values())).sum(0)

    def step(self) -> None:
        """Step every schedule."""
        for schedule in self._schedules.values():
            schedule.step()
        self._fill_weights()

    def get_extra_state(self) -> dict[str, Any]:
        """The schedules' states, for `state_dict()`."""
        return {name: schedule.state_dict() for name, schedule in self._schedules.items()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the schedules from `load_state_dict()`.

        Raises:
            ValueError: if the state is of other terms or schedules.
        """
        if set(state) != set(self._schedules):
            fail("state", f"the terms {sorted(state)}", f"the terms {sorted(self._schedules)}")
        for name, schedule in self._schedules.items():
            schedule.load_state_dict(state[name])
        self._fill_weights()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompoundLoss":
        """Follow `.to(device)`, but not into half precision, in which a schedule would move in jumps."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._weights = self._weights.float()
        self._fill_weights()
        return self

    def _fill_weights(self) -> None:
        for i, weight in enumerate(self.weights.values()):
            self._weights[i].fill_(weight)


class GradientRatioMonitor:
    """How hard one term pulls on the logits beside the others: |grad w_s L_s| / |grad sum of the rest|.

    A surface term whose gradient outweighs the rest's at the start of a training drives the network to an
    empty prediction. The ratio needs no pass through the network: gradients stop at the logits.

    Args:
        compound: the loss that is watched.
        term: the name of the term set against the others.
        limit: a ratio above it warns, once until it has been below again.
        every: only the first of so many calls computes.

    Raises:
        ValueError: if there is no such term or no other, `every` is below 1, or `limit` not above 0.
    """

    def __init__(
        self, compound: CompoundLoss, term: str = "surface", *, limit: float = 1.0, every: int = 1
    ) -> None:
        if term not in compound.losses or len(compound.losses) < 2:
            fail("term", repr(term), f"one of several terms ({', '.join(compound.losses)})")
        whole("every", every, 1)
        if not (is_real(limit) and limit > 0):
            fail("limit", repr(limit), "a number above 0")
        self.compound = compound
        self.term = term
        self.limit = limit
        self.every = every
        self.last: float | None = None
        self._calls = 0
        self._above = False

    def __call__(self, logits: Tensor, target: Tensor, **options: dict[str, Any]) -> float | None:
        """Compute the ratio where it is due.

        Args:
            logits, target, options: what the compound loss was called with.

        Returns:
            The ratio, inf where the others have no gradient, or None in a call that computes nothing.
        """
        due = self._calls % self.every == 0
        self._calls += 1
        if not due:
            return None
        with torch.enable_grad():
            leaf = full_precision(logits.detach()).requires_grad_()  # half gradients would underflow
            weighted = self.compound.weighted(self.compound.terms(leaf, target, **options))
            surface = weighted.pop(self.term)
            (pull,) = torch.autograd.grad(surface, leaf)
            (rest,) = torch.autograd.grad(torch.stack(list(weighted.values())).sum(), leaf)
        surface_norm, rest_norm = torch.stack([pull.double().norm(), rest.double().norm()]).tolist()
        if rest_norm > 0:
            self.last = surface_norm / rest_norm
        else:
            self.last = 0.0 if surface_norm == 0 else math.inf
        above = self.last > self.limit
        if above and not self._above:
            warnings.warn(
                f"the gradient of {self.term!r} is {self.last:.3g} times that of the other terms (limit "
                f"{self.limit:g}): lower its weight, warm it up (LinearWarmup), or normalize its distances",
                stacklevel=2,
            )
        self._above = above
        return self.last
