"""What an insulin pump can give: whole increments within its limits.

The numbers are those of simglucose 0.2.11 and are read as it reads them: limits in U/min, increments in pmol/min.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from puji.modalities.plans.diabetes.patients import PMOL


@dataclass(frozen=True)
class Pump:
    """A kind of pump: the most that it gives, U/min, and its increments, pmol/min, for basal and for bolus."""

    most_basal: float
    most_bolus: float
    basal_increment: float = 0.05
    bolus_increment: float = 0.05

    def basal(self, rate: np.ndarray) -> np.ndarray:
        """What is given of a basal ``rate``, U/min, (n,)."""
        return _given(rate, self.basal_increment / PMOL, self.most_basal)

    def bolus(self, rate: np.ndarray) -> np.ndarray:
        """What is given of a bolus that flows at ``rate``, U/min, (n,)."""
        return _given(rate, self.bolus_increment / PMOL, self.most_bolus)


def _given(rate: np.ndarray, increment: float, most: float) -> np.ndarray:
    if np.isnan(rate).any():
        raise ValueError("a rate of insulin is not a number: the controller gave nan")
    return np.clip(np.round(rate / increment) * increment, 0.0, most)


PUMPS = {"Cozmo": Pump(35.0, 75.0), "Insulet": Pump(30.0, 30.0)}


def pump(name: str) -> Pump:
    """A kind of pump by its name. Raises ValueError if there is none."""
    if name not in PUMPS:
        raise ValueError(f"pump {name!r}: choose one of {', '.join(PUMPS)}")
    return PUMPS[name]


__all__ = ["PUMPS", "Pump", "pump"]
