"""How a setting's states become tokens: the state's own token, bins of numbers, and coarse-to-fine codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars

from puji.errors import Invalid
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.setting import Codes, Setting
from puji.modality import END

PLAN, GOOD, BAD, ALIKE = "<plan>", "<good>", "<bad>", "<alike>"
FIXED = (END, PLAN, GOOD, BAD)
CLIP = 3.0
"""Standard deviations beyond which a number is told as this one."""
ITERATIONS = 30
MOST = 200_000
"""Training values from which quantiles and codes are learned, at most."""


@dataclass
class Book:
    """What is learned of a setting before the network learns.

    ``states``: those of the logs. ``edges``: per observed column the inner edges of its bins, and ``middles``: what a bin
    stands for. ``centres``: per level of the codes, (size, numbers). ``mean``, ``scale``: of the numbers that codes are made
    from.
    ``described``: state -> its numbers, where the states have a description. ``tiers``: values between the tiers of patients,
    once the network has said what states are worth; see tiers.py.
    """

    setting: Setting
    states: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    edges: list[np.ndarray] = field(default_factory=list)
    middles: list[np.ndarray] = field(default_factory=list)
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scale: np.ndarray = field(default_factory=lambda: np.zeros(0))
    centres: list[np.ndarray] = field(default_factory=list)
    described: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tiers: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def learn(
        cls, setting: Setting, records: Sequence[Episode], description: Mapping[str, np.ndarray] | None, seed: int = 0
    ) -> Book:
        """From training episodes, and from the ``description`` of the states where there is one."""
        steps = [step for record in records for step in record.steps]
        found = cls(setting, features=tuple(sorted({one for record in records for one in record.features})))
        rng = np.random.default_rng(seed)
        if setting.discrete:
            known = {step.state for step in steps} | set(description or {})
            found.states = tuple(sorted(known, key=lambda one: (len(one), one)))
            if description and setting.codes:
                names = sorted(description)
                codes = found._codes(np.array([description[name] for name in names]), setting.codes, rng)
                found.described = {name: tuple(map(int, row)) for name, row in zip(names, codes, strict=True)}
            return found
        chosen = rng.permutation(len(steps))[:MOST]
        numbers = np.array([[np.nan if v is None else v for v in steps[i].values] for i in chosen], dtype=float)
        for place, one in enumerate(setting.observed):
            values = numbers[:, place][~np.isnan(numbers[:, place])]
            edges = np.array(one.edges)
            if not one.edges and len(values):
                edges = np.unique(np.quantile(values, np.linspace(0, 1, one.bins + 1)[1:-1]))
            bins = np.searchsorted(edges, values, side="right")
            middles = [float(np.median(values[bins == k])) if (bins == k).any() else float(edges[min(k, len(edges) - 1)])
                       for k in range(len(edges) + 1)] if len(values) else [0.0]  # fmt: skip
            found.edges.append(edges)
            found.middles.append(np.array(middles))
        if setting.codes:
            found._codes(np.where(np.isnan(numbers), np.nanmean(numbers, axis=0), numbers), setting.codes, rng)
        return found

    def _codes(self, numbers: np.ndarray, wanted: Codes, rng: np.random.Generator) -> np.ndarray:
        """Learn codes of ``numbers`` (n, k); gives theirs, (n, levels)."""
        self.mean, self.scale = numbers.mean(0), numbers.std(0)
        self.scale = np.where(self.scale > 0, self.scale, 1.0)
        left = self._standard(numbers)
        for _ in range(wanted.levels):
            centres = kmeans(left, wanted.size, rng)
            self.centres.append(centres)
            left = left - centres[nearest(left, centres)]
        return self.coded(numbers)

    def _standard(self, numbers: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.clip((numbers - self.mean) / self.scale, -CLIP, CLIP)
        return found

    def coded(self, numbers: np.ndarray) -> np.ndarray:
        """The codes of ``numbers`` (n, k), (n, levels) int."""
        left = self._standard(numbers)
        found = []
        for centres in self.centres:
            found.append(nearest(left, centres))
            left = left - centres[found[-1]]
        return np.stack(found, axis=1)

    # -- tokens ------------------------------------------------------------------------------------------------------

    def tokens(self) -> list[str]:
        """All tokens, in a fixed order."""
        size = [len(centres) for centres in self.centres]
        return [
            *FIXED,
            *(outcome_token(one) for one in self.setting.outcomes),
            *(action_token(one.code) for one in self.setting.actions),
            *(feature_token(one) for one in self.features),
            *(f"<c{level}:{code}>" for level, count in enumerate(size) for code in range(count)),
            *(
                f"<{one.column}:{number}>"
                for one, edges in zip(self.setting.observed, self.edges, strict=False)
                for number in (*range(len(edges) + 1), "?")
            ),
            *(state_token(one) for one in self.states),
            *([ALIKE, *map(tier_token, range(tiers))] if (tiers := self.setting.value.tiers) > 1 else []),
        ]

    def observed(self, step: Step) -> list[str]:
        """The tokens of what was observed: a state and its codes, or codes, from coarse to fine, and bins.

        The codes of a state stand behind it: given the state they are certain, while a state after its codes has to be learned by
        heart from all of them together.
        """
        if self.setting.discrete:
            codes = self.described.get(step.state, ())
            return [state_token(step.state), *(f"<c{level}:{code}>" for level, code in enumerate(codes))]
        bins = [self._bin(place, value) for place, value in enumerate(step.values)]
        told = [f"<{one.column}:{bin_}>" for one, bin_ in zip(self.setting.observed, bins, strict=True)]
        if not self.centres:
            return told
        # Of what the bins stand for: the codes of a decoded state are those of the state.
        numbers = [
            self.mean[place] if bin_ == "?" else self.middles[place][int(bin_)] for place, bin_ in enumerate(bins)
        ]
        codes = self.coded(np.array([numbers]))[0]
        return [*(f"<c{level}:{code}>" for level, code in enumerate(codes)), *told]

    def _bin(self, place: int, value: float | None) -> str:
        return "?" if value is None else str(int(np.searchsorted(self.edges[place], value, side="right")))

    def kind(self, episode: Episode, step: Step) -> list[str]:
        """What says among which logged decisions one is counted: the features, and the state, or the first code or bin of it."""
        return [PLAN, *self.known(episode), *self.observed(step)[:1]]

    def known(self, episode: Episode) -> list[str]:
        """The features of a patient that were seen in training; where none is told, the one that the setting assumes."""
        told = episode.features or ((self.setting.assumed,) if self.setting.assumed else ())
        return [feature_token(one) for one in told if one in self.features]

    def seen(self, tokens: Sequence[str]) -> Step:
        """Inverse of `observed`. Raises Invalid."""
        rest = [token for token in tokens if not token.startswith("<c") or not token[2:3].isdigit()]
        if self.setting.discrete:
            if len(rest) != 1 or not rest[0].startswith("<s:"):
                raise Invalid("plans.episode.no_state")
            return Step(rest[0][3:-1])
        if len(rest) != len(self.setting.observed):
            raise Invalid("plans.episode.no_state")
        values: list[float | None] = []
        for place, (one, token) in enumerate(zip(self.setting.observed, rest, strict=True)):
            name, _, bin_ = token[1:-1].rpartition(":")
            if name != one.column or not (bin_ == "?" or (bin_.isdigit() and int(bin_) < len(self.middles[place]))):
                raise Invalid("plans.episode.no_state")
            values.append(None if bin_ == "?" else float(self.middles[place][int(bin_)]))
        return Step("", tuple(values))

    # -- files -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """As JSON values and arrays."""
        arrays = {f"edges{place}": one for place, one in enumerate(self.edges)}
        arrays |= {f"middles{place}": one for place, one in enumerate(self.middles)}
        arrays |= {f"centres{level}": one for level, one in enumerate(self.centres)}
        described = {name: list(codes) for name, codes in self.described.items()}
        return {
            "setting": self.setting.model_dump_json(),
            "states": list(self.states),
            "features": list(self.features),
            "described": described,
            "mean": self.mean,
            "scale": self.scale,
            "tiers": self.tiers,
            **arrays,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Book:
        """Inverse of `state`."""

        def arrays(name: str) -> list[np.ndarray]:
            count = sum(key.startswith(name) and key[len(name) :].isdigit() for key in state)
            return [np.asarray(state[f"{name}{place}"], dtype=float) for place in range(count)]

        return cls(
            Setting.model_validate_json(state["setting"]),
            tuple(state["states"]),
            tuple(state["features"]),
            arrays("edges"),
            arrays("middles"),
            np.asarray(state["mean"], dtype=float),
            np.asarray(state["scale"], dtype=float),
            arrays("centres"),
            {name: tuple(codes) for name, codes in state["described"].items()},
            np.asarray(state["tiers"], dtype=float),
        )


def state_token(state: str) -> str:
    """The token of one of a limited number of states."""
    return f"<s:{state}>"


def tier_token(number: int) -> str:
    """The token of patients who do about as well, from 0, the worst, on."""
    return f"<tier:{number}>"


def action_token(code: str) -> str:
    """The token of an action."""
    return f"<a:{code}>"


def feature_token(feature: str) -> str:
    """The token of what is known from the beginning on."""
    return f"<f:{feature}>"


def outcome_token(outcome: str) -> str:
    """The token of how an episode ended."""
    return f"<outcome:{outcome}>"


def load_description(path: Path) -> dict[str, np.ndarray]:
    """The description of the states: a CSV with the column "state" and columns of numbers. Raises Invalid."""
    try:
        frame = polars.read_csv(path)
        names = frame["state"].cast(polars.String).to_list()
        numbers = frame.drop("state").cast(polars.Float64).to_numpy()
    except (polars.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise Invalid("plans.setting.description", source=str(path), why=str(error).splitlines()[0][:200]) from error
    if not len(numbers) or not numbers.shape[1] or not np.isfinite(numbers).all() or len(set(names)) < len(names):
        raise Invalid("plans.setting.description", source=str(path), why="-")
    return dict(zip(names, numbers, strict=True))


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest of ``centres`` (k, d) to each of ``points`` (n, d), (n,) int."""
    found: np.ndarray = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
    return found


def kmeans(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (at most ``size``, d) by Lloyd's algorithm, which begins at ``points`` drawn at random."""
    distinct = np.unique(points, axis=0)
    centres = distinct[rng.permutation(len(distinct))[:size]]
    for _ in range(ITERATIONS):
        which = nearest(points, centres)
        counts = np.bincount(which, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, which, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres
