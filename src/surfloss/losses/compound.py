"""Sums of weighted losses, and a look at how hard each one pulls."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from surfloss._check import fail, is_real, not_negative, plain, whole
from surfloss.losses._prepare import check_choice, full_precision, warn_at_call
from surfloss.losses.schedule import Constant, Schedule

# Calls without a `step()` that no training makes: more than 32 accumulated batches of 6 resolutions.
UNSTEPPED = 200

Nonfinite: TypeAlias = Literal["keep", "raise", "skip"]


class CompoundLoss(nn.Module):
    """The sum of named losses, each under a weight that may change: sum of weight_i(t) * loss_i.

    Call `step()` once per training iteration. If it is never called, a warm-up stays at its first weight: the
    loss warns once, after 200 calls in training mode that are not compiled. The schedules are part of
    `state_dict()`. The weights live in a buffer, so that a compiled graph reads them as data and stepping
    never recompiles or synchronizes.

    Args:
        terms: name to `(loss, weight)`; the weight is a number or a `Schedule`. The loss keeps a copy of a
            schedule, which only its own `step()` and `load_state_dict()` move; one may serve several terms.
        nonfinite: what to do with a term that is NaN or infinite. "keep": nothing, the sum is then not finite
            either, which a `torch.amp.GradScaler` notices. "raise": an error that names the term. "skip":
            leave the term out of this call's sum, value and gradient, with a warning that names it; where
            no term is left, the sum is a 0 without a gradient. The last two read the values, for which a GPU
            waits and a graph that may not break is refused; so "keep" is the default.

    Raises:
        TypeError, ValueError: without terms, on a loss that is no module, a name that `torch.nn.ModuleDict`
            refuses, or a weight that is negative or not finite; in a call, if a loss gives no scalar, or with
            `nonfinite="raise"` one that is not finite.
        RuntimeError: in a call that is compiled, if `nonfinite` is not "keep".

    Example:
        >>> loss = CompoundLoss({
        ...     "dice_ce": (DiceCELoss(), 1.0),
        ...     "surface": (HausdorffDTLoss(softmax=True, to_onehot_y=True), LinearWarmup(1e-3, 5000)),
        ... })
    """

    last_terms: dict[str, Tensor]
    """The terms of the last call, without their weights, detached."""

    _weights: Tensor

    def __init__(
        self, terms: Mapping[str, tuple[nn.Module, float | Schedule]], *, nonfinite: Nonfinite = "keep"
    ) -> None:
        super().__init__()
        check_choice("nonfinite", nonfinite, Nonfinite)
        self.nonfinite = nonfinite
        if not (isinstance(terms, Mapping) and terms):
            fail("terms", repr(terms), "a mapping from the name to the (loss, weight) of each term")
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
        self._factors = dict.fromkeys(terms, 1.0)
        constant = all(isinstance(schedule, Constant) for schedule in self._schedules.values())
        self._calls_to_warning = 0 if constant else UNSTEPPED
        weights = torch.tensor(list(self.weights.values()), dtype=torch.float32)
        self.register_buffer("_weights", weights, persistent=False)
        self.last_terms = {}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Copies of the schedules as they are now, to look at: stepping them moves no weight of the loss."""
        return copy.deepcopy(self._schedules)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term now: what its schedule says, times its factor (see `scale`)."""
        return {name: schedule.weight * self._factors[name] for name, schedule in self._schedules.items()}

    @property
    def factors(self) -> dict[str, float]:
        """By what `scale` multiplies the weight of each term; 1 where it never did."""
        return dict(self._factors)

    def terms(self, input: Tensor, target: Tensor, **options: dict[str, Any]) -> dict[str, Tensor]:
        """Each loss without its weight.

        Args:
            input, target: what every loss is called with.
            options: by the name of a term, more arguments for its loss, such as
                `surface={"spacing": spacing}`.
        """
        # A comprehension, and no difference of sets, which PyTorch 2.6 cannot compile.
        if unknown := [name for name in options if name not in self.losses]:
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
            self._weights = torch.empty_like(self._weights, device=device)
            self._fill_weights()
        weights = self._weights.clone()  # autograd keeps it, and `step` may write before the backward pass
        return {name: weights[i] * term for i, (name, term) in enumerate(terms.items())}

    def forward(self, input: Tensor, target: Tensor, **options: dict[str, Any]) -> Tensor:
        """The weighted sum; the arguments are those of `terms`."""
        if not torch.compiler.is_compiling():
            self._notice_missing_steps()
        terms = self.terms(input, target, **options)
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        weighted = self.weighted(terms)
        if self.nonfinite != "keep":
            self._drop_nonfinite(weighted)
        if not weighted:
            return torch.zeros_like(next(iter(terms.values()))).requires_grad_()
        return torch.stack(list(weighted.values())).sum(0)

    def scale(self, term: str, factor: float) -> None:
        """Multiply the weight of a term by a factor from now on; 1 for its schedule alone.

        It is what `GradientRatioMonitor` caps a term with. The factor is part of `state_dict()`.

        Raises:
            ValueError: if there is no such term, or the factor is negative or not finite.
        """
        if term not in self._factors:
            fail("term", repr(term), f"one of {', '.join(self._factors)}")
        self._factors[term] = not_negative("factor", factor)
        self._fill_weights()

    def step(self) -> None:
        """Step every schedule."""
        self._calls_to_warning = 0
        for schedule in self._schedules.values():
            schedule.step()
        self._fill_weights()

    def get_extra_state(self) -> dict[str, Any]:
        """The schedules' states and the factors, for `state_dict()`."""
        return {
            name: {**schedule.state_dict(), "factor": self._factors[name]}
            for name, schedule in self._schedules.items()
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the schedules and the factors from `load_state_dict()`.

        A schedule of another length goes on after the steps that were taken; see `Schedule.load_state_dict`.

        Raises:
            ValueError: if the state is of other terms or schedules, or has a factor that is negative or not
                finite; the loss then stays as it was.
        """
        if not isinstance(state, Mapping) or set(state) != set(self._schedules):
            got = f"the terms {sorted(state)}" if isinstance(state, Mapping) else repr(state)
            fail("state", got, f"the terms {sorted(self._schedules)}")
        schedules, factors = self.schedules, {}  # copies: a state that is refused changes nothing
        for name, schedule in schedules.items():
            if not isinstance(state[name], Mapping):
                fail(f"state[{name!r}]", repr(state[name]), f"a state saved by {schedule!r}")
            own = dict(state[name])
            factors[name] = not_negative("factor", own.pop("factor", 1.0))
            schedule.load_state_dict(own)
        self._schedules, self._factors = schedules, factors
        self._fill_weights()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompoundLoss":
        """Follow `.to(device)`, but not into half precision, in which a schedule would move in jumps."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._weights = self._weights.float()
        self._fill_weights()
        return self

    def _notice_missing_steps(self) -> None:
        if not (self._calls_to_warning and self.training and torch.is_grad_enabled()):
            return
        self._calls_to_warning -= 1
        if not self._calls_to_warning:
            stuck = [name for name, weight in self._schedules.items() if not isinstance(weight, Constant)]
            warn_at_call(
                f"{UNSTEPPED} calls in training without `step()`: the weights of {', '.join(stuck)} stay as "
                "they are. Call `step()` once per training iteration, after the optimizer's"
            )

    def _drop_nonfinite(self, terms: dict[str, Tensor]) -> None:
        if torch.compiler.is_compiling():
            fail("nonfinite", f"{self.nonfinite!r} in a compiled graph", "'keep'", RuntimeError)
        for name in _nonfinite(self.last_terms):
            if self.nonfinite == "raise":
                fail(f"terms[{name!r}]", float(self.last_terms[name]), "a finite loss (nonfinite='raise')")
            warn_at_call(f"the term {name!r} is not finite and is left out of this call's sum")
            del terms[name]

    def _fill_weights(self) -> None:
        for i, weight in enumerate(self.weights.values()):
            self._weights[i].fill_(weight)


class GradientRatioMonitor:
    """How hard one term pulls on the logits beside the others: |grad w_s L_s| / |grad sum of the rest|.

    A surface term whose gradient outweighs the rest's at the start of a training drives the network to an
    empty prediction. The ratio needs no pass through the network: gradients stop at the logits. A gradient
    that is NaN or infinite is warned of by the name of its term.

    Args:
        compound: the loss that is watched.
        term: the name of the term set against the others.
        limit: a ratio above it warns, once until it has been below again.
        every: only the first of so many calls computes; each reads its result from the device.
        cap: hold the ratio at the limit: each look that finds it above sets the factor limit / ratio on the
            term's weight (`CompoundLoss.scale`), and one that finds it below lifts the factor. The factor is
            never above 1, and stays until the next look, so call the monitor before the loss. Where the
            others have no gradient at all it is 0.

    Raises:
        ValueError: if there is no such term or no other, `every` is below 1, or `limit` not above 0 or, with
            `cap`, infinite.
    """

    def __init__(
        self,
        compound: CompoundLoss,
        term: str = "surface",
        *,
        limit: float = 1.0,
        every: int = 1,
        cap: bool = False,
    ) -> None:
        if term not in compound.losses or len(compound.losses) < 2:
            fail("term", repr(term), f"one of several terms ({', '.join(compound.losses)})")
        limit = plain(limit)
        if not (is_real(limit) and limit > 0 and not (cap and limit == math.inf)):
            fail("limit", repr(limit), "a finite number above 0" if cap else "a number above 0")
        self.compound = compound
        self.term = term
        self.limit = limit
        self.every = whole("every", every, 1)
        self.cap = cap
        self.last: float | None = None
        self._calls = 0
        self._above = False

    def __call__(self, logits: Tensor, target: Tensor, **options: dict[str, Any]) -> float | None:
        """Compute the ratio where it is due, and with `cap` the factor.

        Args:
            logits, target, options: what the compound loss is called with.

        Returns:
            The ratio, with `cap` the one that there would be without a factor; inf where the others have no
            gradient, NaN where one is not finite, or None in a call that computes nothing.

        Raises:
            RuntimeError: in `torch.inference_mode`, which has no gradients.
        """
        if torch.is_inference_mode_enabled() or logits.is_inference():
            fail("logits", "inference mode", "torch.no_grad() or training: gradients are taken", RuntimeError)
        due = self._calls % self.every == 0
        self._calls += 1
        if not due:
            return None
        if self.cap:
            before = self.compound.factors[self.term]
            self.compound.scale(self.term, 1.0)
        pull, rest, nonfinite = self._norms(logits, target, options)
        if nonfinite:
            self.last = math.nan
        elif rest > 0:
            self.last = pull / rest
        else:
            self.last = 0.0 if pull == 0 else math.inf
        if self.cap:
            self.compound.scale(self.term, before if nonfinite else self.limit / max(self.last, self.limit))
        self._warn(nonfinite)
        return self.last

    def _norms(
        self, logits: Tensor, target: Tensor, options: dict[str, dict[str, Any]]
    ) -> tuple[float, float, list[str]]:
        """The norms of the gradients of the term and of the rest, and which terms' gradient is not finite."""
        with torch.enable_grad():
            leaf = full_precision(logits.detach()).requires_grad_()  # half gradients would underflow
            terms = self.compound.terms(leaf, target, **options)
            weighted = self.compound.weighted(terms)
            surface = weighted.pop(self.term)
            (pull,) = torch.autograd.grad(surface, leaf)
            (rest,) = torch.autograd.grad(torch.stack(list(weighted.values())).sum(), leaf)
        pull_norm, rest_norm = torch.stack([pull.double().norm(), rest.double().norm()]).tolist()
        nonfinite = [] if math.isfinite(pull_norm) else [self.term]
        if not math.isfinite(rest_norm):
            # If the values are finite, whose gradient it was remains open.
            nonfinite += [name for name in _nonfinite(terms) if name != self.term] or list(weighted)
        return pull_norm, rest_norm, nonfinite

    def _warn(self, nonfinite: list[str]) -> None:
        assert self.last is not None
        above = self.last > self.limit
        if nonfinite:
            message = f"the gradient of {' or '.join(map(repr, nonfinite))} is not finite"
            warn_at_call(f"{message}: look at its loss and at the logits")
        elif above and not self._above:
            factor = self.compound.factors[self.term]
            held = f", held there by a factor of {factor:.3g}" if self.cap else ""
            warn_at_call(
                f"the gradient of {self.term!r} is {self.last:.3g} times that of the other terms (limit "
                f"{self.limit:g}{held}): lower its weight, warm it up (LinearWarmup, CosineRamp), or "
                "normalize its distances"
            )
        self._above = above


def _nonfinite(terms: Mapping[str, Tensor]) -> list[str]:
    """The names of the terms that are NaN or infinite, read from the device in one go."""
    finite = torch.stack([term.detach().isfinite() for term in terms.values()]).tolist()
    return [name for name, good in zip(terms, finite, strict=True) if not good]
