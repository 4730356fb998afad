"""The UVA/Padova model of type-1 diabetes of 2008 (S2008), many patients at once.

Glucose and insulin kinetics: Dalla Man, Rizza & Cobelli, IEEE Trans. Biomed. Eng. 54:1740 (2007). Gastric emptying: Dalla Man,
Camilleri & Cobelli, IEEE Trans. Biomed. Eng. 53:2472 (2006). Subcutaneous insulin and the whole: Kovatchev, Breton, Dalla Man
& Cobelli, J. Diabetes Sci. Technol. 3:44 (2009). Details as in simglucose 0.2.11, against which it is tested: a meal is eaten
at 5 g/min, compartments that fall below zero stay there, glucose is that of the subcutaneous compartment.

Every row is computed by itself, so that it never depends on what else is in the batch. The integrator is the classical
Runge-Kutta one with steps of one minute, over which insulin and eating are constant.
"""

from __future__ import annotations

import copy
from typing import Any

import numba
import numpy as np

from puji.modalities.plans.diabetes.patients import PMOL, Patients

EATING = 5.0
"""g of carbohydrate a minute."""
LOWEST, HIGHEST = 10.0, 600.0
"""mg/dl; a run whose glucose leaves these bounds has ended early, in a death that the model no longer describes."""
STATES = (
    "solid",  # in the stomach, mg
    "liquid",  # in the stomach, mg
    "gut",  # mg
    "plasma_glucose",  # mg/kg
    "tissue_glucose",  # mg/kg
    "plasma_insulin",  # pmol/kg
    "uptake",  # insulin's action on glucose utilisation, pmol/l
    "delayed",  # insulin on its way to its action on production, pmol/l
    "production",  # insulin's action on glucose production, pmol/l
    "liver_insulin",  # pmol/kg
    "depot",  # subcutaneous insulin as it was infused, pmol/kg
    "dissolved",  # subcutaneous insulin further on, pmol/kg
    "glucose",  # subcutaneous, what a sensor sees, mg/kg
)
"""The columns of a state, in the order of simglucose."""
SOLID, LIQUID, GUT, PLASMA, TISSUE, INSULIN, UPTAKE, DELAYED, PRODUCTION, LIVER, DEPOT, DISSOLVED, GLUCOSE = range(13)
_BASAL = {PLASMA: "Gpb", TISSUE: "Gtb", INSULIN: "Ipb", DELAYED: "Ib", PRODUCTION: "Ib", LIVER: "Ilb"}
_BASAL |= {DEPOT: "isc1ss", DISSOLVED: "isc2ss", GLUCOSE: "Gpb"}
# Of a row's meal: g still on the plate, g eaten in the last minute, mg in the stomach as it began, g eaten since then.
_PLATE, _LAST, _REST, _TAKEN = range(4)


def equilibrium(patients: Patients) -> np.ndarray:
    """The state in which each patient stays at its basal rate without meals, (n, 13)."""
    state = np.zeros((len(patients), len(STATES)))
    for place, name in _BASAL.items():
        state[:, place] = patients.column(name)
    return state


def scattered(patients: Patients, seeds: np.ndarray) -> np.ndarray:
    """`equilibrium` with glucose drawn around it as simglucose does (variance: a tenth of the mean), (n, 13).

    ``seeds``: (n,) int, one a row.
    """
    state = equilibrium(patients)
    drawn = np.array([np.random.default_rng([int(seed), 1]).standard_normal(3) for seed in seeds]).reshape(-1, 3)
    columns = [PLASMA, TISSUE, GLUCOSE]
    state[:, columns] += drawn * np.sqrt(0.1 * state[:, columns])
    return state


@numba.njit(cache=True)
def _slope(x, p, insulin, eaten, meal, dx):  # type: ignore[no-untyped-def]
    """dx: what changes a minute in the state ``x`` (13,) of a patient ``p``.

    ``insulin``: pmol/kg/min; ``eaten``: mg/min; ``meal``: mg in the stomach as the meal began, and eaten since then.
    """
    # Gastric emptying slows down while the stomach is between full and nearly empty.
    rate = p.kmax
    if meal > 0:
        full = 5 / (2 * meal * (1 - p.b))
        empty = 5 / (2 * meal * p.d)
        content = x[SOLID] + x[LIQUID]
        bent = np.tanh(full * (content - p.b * meal)) - np.tanh(empty * (content - p.d * meal))
        rate = p.kmin + (p.kmax - p.kmin) / 2 * (bent + 2)
    dx[SOLID] = eaten - p.kmax * x[SOLID]
    dx[LIQUID] = p.kmax * x[SOLID] - rate * x[LIQUID]
    dx[GUT] = rate * x[LIQUID] - p.kabs * x[GUT]

    appearing = p.f * p.kabs * x[GUT] / p.BW
    produced = max(0.0, p.kp1 - p.kp2 * x[PLASMA] - p.kp3 * x[PRODUCTION])
    excreted = max(0.0, p.ke1 * (x[PLASMA] - p.ke2))
    exchanged = p.k1 * x[PLASMA] - p.k2 * x[TISSUE]
    used = (p.Vm0 + p.Vmx * x[UPTAKE]) * x[TISSUE] / (p.Km0 + x[TISSUE])
    dx[PLASMA] = produced + appearing - p.Fsnc - excreted - exchanged
    dx[TISSUE] = exchanged - used
    dx[GLUCOSE] = p.ksc * (x[PLASMA] - x[GLUCOSE])

    absorbed = p.ka1 * x[DEPOT] + p.ka2 * x[DISSOLVED]
    concentration = x[INSULIN] / p.Vi
    dx[INSULIN] = absorbed + p.m1 * x[LIVER] - (p.m2 + p.m4) * x[INSULIN]
    dx[LIVER] = p.m2 * x[INSULIN] - (p.m1 + p.m30) * x[LIVER]
    dx[DEPOT] = insulin - (p.ka1 + p.kd) * x[DEPOT]
    dx[DISSOLVED] = p.kd * x[DEPOT] - p.ka2 * x[DISSOLVED]
    dx[UPTAKE] = p.p2u * (concentration - p.Ib - x[UPTAKE])
    dx[DELAYED] = p.ki * (concentration - x[DELAYED])
    dx[PRODUCTION] = p.ki * (x[DELAYED] - x[PRODUCTION])

    for place in (PLASMA, TISSUE, INSULIN, LIVER, DEPOT, DISSOLVED, GLUCOSE):
        if x[place] < 0:
            dx[place] = 0.0


@numba.njit(cache=True)
def _advance(state, plate, ended, parameters, insulin, trace):  # type: ignore[no-untyped-def]
    """Live the minutes of ``trace`` (n, minutes), which is filled with glucose, mg/dl; ``insulin``: pmol/kg/min (n,).

    ``state`` (n, 13), ``plate`` (n, 4) and ``ended`` (n,) are changed.
    """
    size = state.shape[1]
    k1, k2, k3, k4, at = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    for row in range(len(state)):
        x, p, dish = state[row], parameters[row], plate[row]
        for minute in range(trace.shape[1]):
            if not ended[row]:
                eaten = min(EATING, dish[_PLATE])
                dish[_PLATE] -= eaten
                if eaten > 0 and dish[_LAST] <= 0:
                    dish[_REST], dish[_TAKEN] = x[SOLID] + x[LIQUID], 0.0
                dish[_TAKEN] += eaten
                dish[_LAST] = eaten
                given = insulin[row], 1000 * eaten, dish[_REST] + 1000 * dish[_TAKEN]
                _slope(x, p, given[0], given[1], given[2], k1)
                at[:] = x + k1 / 2
                _slope(at, p, given[0], given[1], given[2], k2)
                at[:] = x + k2 / 2
                _slope(at, p, given[0], given[1], given[2], k3)
                at[:] = x + k3
                _slope(at, p, given[0], given[1], given[2], k4)
                x += (k1 + 2 * k2 + 2 * k3 + k4) / 6
                glucose = x[GLUCOSE] / p.Vg
                ended[row] = not (LOWEST <= glucose <= HIGHEST)
            trace[row, minute] = x[GLUCOSE] / p.Vg


class Simulator:
    """The bodies of a batch of patients, from midnight on.

    A row that has ended early keeps its last glucose; the others live on.

    Parameters
    ----------
    patients : Patients
        One a row; repeat them for more days at once.
    state : (n, 13) array, optional
        Where to begin, see `STATES`; default `equilibrium`.
    """

    def __init__(self, patients: Patients, state: np.ndarray | None = None) -> None:
        start = equilibrium(patients) if state is None else np.array(state, dtype=np.float64)
        if start.shape != (len(patients), len(STATES)) or not np.isfinite(start).all():
            raise ValueError(f"state: {len(patients)} patients need finite numbers of shape (n, {len(STATES)})")
        self.patients = patients
        self.state = start
        self.minute = 0
        """Since midnight of the first day."""
        self.ended = np.zeros(len(patients), dtype=np.bool_)
        self._parameters = patients.parameters()
        self._plate = np.zeros((len(patients), 4))

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def glucose(self) -> np.ndarray:
        """Now, mg/dl, (n,)."""
        found: np.ndarray = self.state[:, GLUCOSE] / self._parameters["Vg"]
        return found

    def step(self, insulin: np.ndarray, carbohydrate: np.ndarray, minutes: int = 5) -> np.ndarray:
        """Live ``minutes``; glucose after each of them, mg/dl, (n, minutes).

        ``insulin``: U/min throughout, (n,). ``carbohydrate``: g that are served now, (n,), and eaten at `EATING`, after what
        is still on the plate.
        """
        if minutes < 1:
            raise ValueError(f"minutes: {minutes} is no time; a step has one minute or more")
        rate, served = self._checked("insulin", insulin), self._checked("carbohydrate", carbohydrate)
        self._plate[:, _PLATE] += served
        trace = np.empty((len(self), minutes))
        rate = rate * PMOL / self._parameters["BW"]
        _advance(self.state, self._plate, self.ended, self._parameters, rate, trace)
        self.minute += minutes
        return trace

    def _checked(self, name: str, values: Any) -> np.ndarray:
        """``values`` as numbers of 0 or more, one a row."""
        found = np.asarray(values, dtype=np.float64)
        if found.shape != (len(self),):
            raise ValueError(f"{name}: {len(self)} patients need an array of shape ({len(self)},), not {found.shape}")
        if not (np.isfinite(found) & (found >= 0)).all():
            raise ValueError(f"{name}: give finite numbers of 0 or more")
        return found

    def fork(self) -> Simulator:
        """A copy that lives on by itself, to look ahead."""
        other = copy.copy(self)
        other.state, other.ended, other._plate = self.state.copy(), self.ended.copy(), self._plate.copy()
        return other


__all__ = ["EATING", "HIGHEST", "LOWEST", "STATES", "Simulator", "equilibrium", "scattered"]
