"""More virtual patients than the published ones: relatives of them, drawn around their parameters.

Seven patients of an age group are too few to choose by what an unknown one may be like. A relative has the parameters of a
published patient times log-normal noise, whose standard deviation is a share of that between the published patients given,
parameter by parameter. Its basal state is the equilibrium of its parameters (glucose and insulin at rest are the parent's, and
`kp1` follows), and so is its basal rate. Its pump's ratio and factor are as far off as its parent's: both are scaled by what the
simulator says of the two. Not all who are drawn could live; whoever uses them looks after that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from puji.modalities.plans.diabetes.patients import Patients, Table, patients
from puji.modalities.plans.diabetes.simulator import Simulator

DRAWN = (
    *("BW", "kabs", "kmax", "kmin", "d", "Vg", "Vi", "kp2", "kp3", "ki", "k1", "k2"),
    *("Vm0", "Vmx", "Km0", "p2u", "ka1", "ka2", "kd", "ksc"),
)
"""The parameters that are drawn; the others are the parent's, or follow."""
HOURS = 8
"""For which a bolus and a meal are followed, to tell how much they move glucose."""
UNITS, GRAMS = 0.02, 10.0
"""U for each kg, and g, that are given to tell that."""


def relatives(parents: Sequence[str], each: int, seed: int, spread: float) -> Table:
    """``each`` relatives of each of the ``parents``, published patients; named "child#004/1", from 1 on. ``spread``: standard
    deviation of their noise, of that between the parents of an age group.

    Raises ValueError for a parent who is alone in its age group: there is no spread.
    """
    base = patients(list(parents))
    rng = np.random.default_rng([seed, 11])
    logs = {name: np.log(base.column(name)) for name in DRAWN}
    rows: list[dict[str, float | str]] = []
    for at, parent in enumerate(parents):
        group = base.groups == base.groups[at]
        if group.sum() < 2:
            raise ValueError(f"parents: {parent!r} is alone in its age group; give two or more of each")
        noise = {name: spread * logs[name][group].std(ddof=1) * rng.standard_normal(each) for name in DRAWN}
        for number in range(each):
            own = {name: float(base.column(name)[at]) for name in base.table.columns}
            own |= {name: own[name] * float(np.exp(noise[name][number])) for name in DRAWN}
            rows.append({"name": f"{parent}/{number + 1}", **at_rest(own)})
    drawn = Table.of(rows)
    lowered, raised = moved(Patients(np.arange(len(rows)), drawn)) / np.repeat(moved(base), each, axis=1)
    mended = {
        "correction_factor": drawn.columns["correction_factor"] * lowered,
        "carbohydrate_ratio": drawn.columns["carbohydrate_ratio"] * lowered / raised,
        "daily_insulin": drawn.columns["daily_insulin"] / lowered,
    }
    return Table(drawn.names, {**drawn.columns, **mended})


def at_rest(own: dict[str, float]) -> dict[str, float]:
    """The parameters of a patient with the state at rest, and the basal rate and `kp1`, that follow from the others."""
    p = own
    insulin = p["Ib"] * p["Vi"]
    liver = p["m2"] * insulin / (p["m1"] + p["m30"])
    rate = (p["m2"] + p["m4"]) * insulin - p["m1"] * liver
    depot = rate / (p["ka1"] + p["kd"])
    plasma = p["Gb"] * p["Vg"]
    # k1 plasma - k2 tissue = Vm0 tissue / (Km0 + tissue): a square equation with one positive root.
    half = p["k2"] * p["Km0"] + p["Vm0"] - p["k1"] * plasma
    tissue = float(np.sqrt(half**2 + 4 * p["k2"] * p["k1"] * plasma * p["Km0"]) - half) / (2 * p["k2"])
    used = p["Vm0"] * tissue / (p["Km0"] + tissue)
    produced = p["Fsnc"] + used + max(0.0, p["ke1"] * (plasma - p["ke2"]))
    return p | {
        "Ipb": insulin,
        "Ilb": liver,
        "u2ss": rate,
        "isc1ss": depot,
        "isc2ss": p["kd"] * depot / p["ka2"],
        "Gpb": plasma,
        "Gtb": tissue,
        "kp1": produced + p["kp2"] * plasma + p["kp3"] * p["Ib"],
    }


def moved(people: Patients) -> np.ndarray:
    """How far a U lowers glucose, and how far a g raises it, at most, mg/dl, (2, n)."""
    none, units, grams = np.zeros(len(people)), UNITS * people.column("BW"), np.full(len(people), GRAMS)
    found = []
    for insulin, carbohydrate, amount in ((units, none, units), (none, grams, grams)):
        body = Simulator(people)
        start = body.glucose[:, None]
        first = body.step(people.basal + insulin, carbohydrate, 1)
        later = body.step(people.basal, none, 60 * HOURS - 1)
        found.append(np.abs(np.concatenate([first, later], axis=1) - start).max(axis=1) / amount)
    return np.array(found)


__all__ = ["at_rest", "moved", "relatives"]
