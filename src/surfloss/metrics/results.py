"""What `evaluate_folders` returns, and its form in JSON files, which `docs/evaluation.md` shows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, Self, TypeVar

from surfloss.metrics._empty import BothEmptyRule, EmptyRule
from surfloss.metrics.lesions import Component, Lesion
from surfloss.metrics.summary import Summary

AnyComponent = TypeVar("AnyComponent", bound=Component)


@dataclass(frozen=True)
class Problem:
    """Why values are undefined, or what was left over."""

    kind: str  # "missing", "unreadable", "misaligned", "labels", "unmeasurable", "unavailable", "absent"
    message: str


@dataclass(frozen=True)
class CaseResult:
    """The values of one label of one case by metric; None where undefined, all of them with most problems."""

    case: str
    label: str
    values: Mapping[str, float | None]
    problem: Problem | None = None

    def to_dict(self) -> dict[str, Any]:
        problem = self.problem and asdict(self.problem)
        return {"case": self.case, "label": self.label, **self.values, "problem": problem}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        values = {name: value for name, value in row.items() if name not in ("case", "label", "problem")}
        return cls(row["case"], row["label"], values, row["problem"] and Problem(**row["problem"]))


@dataclass(frozen=True)
class CaseComponent(Generic[AnyComponent]):
    """A lesion or a false positive of one label of one case."""

    case: str
    label: str
    component: AnyComponent

    def to_dict(self) -> dict[str, Any]:
        """The number of the component stands under "component"."""
        values = asdict(self.component)
        return {"case": self.case, "label": self.label, "component": values.pop("label"), **values}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "CaseComponent[Any]":
        """A lesion if it says what matches it, else a false positive."""
        values = dict(row)
        case, label, number = (values.pop(name) for name in ("case", "label", "component"))
        if "matched" not in values:
            return CaseComponent(case, label, Component(number, **values))
        matched = tuple(values.pop("matched"))
        return CaseComponent(case, label, Lesion(number, matched=matched, **values))


@dataclass(frozen=True)
class OtherLabel:
    """A label that was found but not asked for, and in how many targets and predictions."""

    label: int
    targets: int
    predictions: int


@dataclass(frozen=True)
class FolderSettings:
    """How two folders were evaluated, in the words of `evaluate_folders`."""

    tolerances: tuple[float, ...]
    percentiles: tuple[float, ...] = ()
    labels: Mapping[str, tuple[int, ...]] | None = None  # by name; None for masks of 0 and 1
    ignore_label: int | None = None
    empty: EmptyRule = "null"
    both_empty: BothEmptyRule = "official"
    bootstrap: int = 1000
    seed: int = 0

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        labels = settings["labels"] and {name: tuple(part) for name, part in settings["labels"].items()}
        tolerances, percentiles = (tuple(settings[name]) for name in ("tolerances", "percentiles"))
        return cls(**{**settings, "tolerances": tolerances, "percentiles": percentiles, "labels": labels})


@dataclass(frozen=True)
class FolderEvaluation:
    """All values of two folders of cases, their summaries, and what could not be evaluated.

    `to_dict` is ready for JSON, and `from_dict` takes what a JSON file gives back.
    """

    cases: tuple[CaseResult, ...]  # one for each target and label
    summary: Mapping[str, Summary]  # by metric
    summary_by_label: Mapping[str, Mapping[str, Summary]]  # empty for masks of 0 and 1
    unmatched: tuple[str, ...]  # predictions without a target
    absent_labels: tuple[int, ...]  # asked for, or 1 for masks, and in no target
    other_labels: tuple[OtherLabel, ...]
    settings: FolderSettings
    lesions: tuple[CaseComponent[Lesion], ...] | None = None  # None without `per_lesion`
    false_positives: tuple[CaseComponent[Component], ...] | None = None

    @property
    def case_names(self) -> list[str]:
        """The names of the cases, each once."""
        return list(dict.fromkeys(row.case for row in self.cases))

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for was evaluated."""
        return not self.absent_labels and not any(row.problem for row in self.cases)

    def all_problems(self) -> list[tuple[str, Problem]]:
        """Each problem with what it concerns, once for all labels of a case, and what was left over."""
        by_case = [(row.case, row.problem) for row in self.cases if row.problem]
        found = [(case, problem) for case, problem in by_case if problem.kind != "absent"]
        found += [(f"label {label}", Problem("absent", "it occurs in no target"))
                  for label in self.absent_labels]  # fmt: skip
        found += [(case, Problem("extra", "a prediction without a target")) for case in self.unmatched]
        if others := ", ".join(str(other.label) for other in self.other_labels):
            message = "found but not asked for, background here"
            found.append((f"labels {others}", Problem("other", message)))
        return list(dict.fromkeys(found))

    @property
    def problems(self) -> dict[str, int]:
        """How many cases, predictions or labels have a problem of each kind."""
        kinds = dict.fromkeys((concerned, problem.kind) for concerned, problem in self.all_problems())
        return dict(sorted(Counter(kind for _, kind in kinds if kind != "other").items()))

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "cases": [row.to_dict() for row in self.cases],
            "summary": _plain(self.summary),
            "summary_by_label": {label: _plain(each) for label, each in self.summary_by_label.items()},
            "problems": self.problems,
            "unmatched": self.unmatched,
            "absent_labels": self.absent_labels,
            "other_labels": [asdict(other) for other in self.other_labels],
            "settings": asdict(self.settings),
        }
        for name, components in (("lesions", self.lesions), ("false_positives", self.false_positives)):
            if components is not None:
                result[name] = [found.to_dict() for found in components]
        return result

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Self:
        """
        Raises:
            KeyError, TypeError: if it is no dictionary of `to_dict`.
        """
        return cls(
            cases=tuple(map(CaseResult.from_dict, result["cases"])),
            summary=_summaries(result["summary"]),
            summary_by_label={label: _summaries(each) for label, each in result["summary_by_label"].items()},
            unmatched=tuple(result["unmatched"]),
            absent_labels=tuple(result["absent_labels"]),
            other_labels=tuple(OtherLabel(**other) for other in result["other_labels"]),
            settings=FolderSettings.from_dict(result["settings"]),
            **{
                name: tuple(map(CaseComponent.from_dict, result[name]))
                for name in ("lesions", "false_positives")
                if name in result
            },
        )


def _plain(summaries: Mapping[str, Summary]) -> dict[str, dict[str, Any]]:
    return {metric: asdict(summary) for metric, summary in summaries.items()}


def _summaries(plain: Mapping[str, Any]) -> dict[str, Summary]:
    return {metric: Summary.from_dict(summary) for metric, summary in plain.items()}
