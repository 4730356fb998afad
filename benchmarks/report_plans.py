"""Sections of RESULTS.md about treatment plans."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report_tables import number, table

CONFIGURED = ("rounds", "epochs", "tiers", "usual", "emphasis")
"""What the report tells of the configuration of sepsis."""


def sepsis(results: dict[str, Any]) -> str:
    sizes = results["sizes"]
    rows = results["rows"]

    def value(name: str, size: str) -> str:
        found = sizes[size]["mean"][name]
        return f"**{found:.4f}**" if name == "Puji" else f"{found:.4f}"

    def paired(name: str, size: str) -> str:
        found = sizes[size]["Puji less"][name]
        return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"

    def estimated(size: str, kind: str) -> float:
        return mean(row["off-policy"][kind][0] for row in rows if str(row["episodes"]) == size)

    def other(size: str, kind: str) -> float:
        return mean(row["off-policy"][kind] for row in rows if str(row["episodes"]) == size)

    names = list(next(iter(sizes.values()))["mean"])
    head = ["", *(f"{int(size):,} episodes ({found['seeds']} logs)" for size, found in sizes.items())]
    body = [[name, *(value(name, size) for size in sizes)] for name in names]
    body.append(["bar set for Puji", *(f"{found['bar']:.3f}" for found in sizes.values())])
    for last in range(results["configuration"]["rounds"] - 1):
        after = [mean(row["rounds"][last] for row in rows if str(row["episodes"]) == size) for size in sizes]
        body.append([f"Puji after round {last + 1}", *map(number, after)])
    less = [[f"Puji less {name}", *(paired(name, size) for size in sizes)] for name in names if name != "Puji"]
    off = [
        [
            f"{int(size):,}",
            number(found["mean"]["Puji"]),
            number(estimated(size, "fitted Q")),
            number(estimated(size, "importance sampling")),
            number(other(size, "effective sample size"), 1),
            number(other(size, "overlap"), 3),
        ]
        for size, found in sizes.items()
    ]
    wanted = results["seeds wanted"]
    few = [f"{int(size):,} episodes {found['seeds']}" for size, found in sizes.items() if found["seeds"] < wanted]
    few += [f"{size:,} episodes none" for size in (1_000, 10_000, 100_000) if str(size) not in sizes]
    short = f" **Fewer logs than the {wanted} planned: {', '.join(few)}.**" if few else ""
    wanted = results["configuration"]
    declared = ", ".join(f"{name} {wanted[name]:g}" for name in CONFIGURED if name in wanted)
    return (
        "Probability of survival in ICU-Sepsis 2.0.1, exact by a linear solve, of plans learned from logged clinician episodes"
        f" and nothing else; mean over logs (seeds).{short} The best that there is: {results['optimal']:.4f}. One configuration"
        f" for all ({declared}), chosen by fitted Q evaluation on other logs;"
        f" {mean(row['seconds of processor time'] for row in rows):.0f} s of processor time a log. Baselines learn from the same"
        " episodes. The return-conditioned transformer is the same network, trained in one round by what came of whole"
        f" episodes.\n\n{table(head, body)}\n\n"
        "Differences log by log, with 95 % intervals from resampled logs:\n\n"
        f"{table(['', *head[1:]], less)}\n\n"
        "What off-policy evaluation says of the same plans, from episodes that they were not learned from (at most 10,000),"
        " mean over logs; it is biased where few logged episodes did what the plan does, as the effective sample size"
        " (episodes) and the overlap (probability that the plan takes the logged action) tell:\n\n"
        + table(
            ["episodes", "exact", "fitted Q", "importance sampling", "effective sample size", "overlap"],
            off,
        )
    )


def weights(results: dict[str, Any]) -> str:
    return table(["", "exact"], ([name, number(one["value"])] for name, one in results["metrics"].items()))


def diabetes(results: dict[str, Any]) -> str:
    apart = {name: [one["rmse"] for one in found.values()] for name, found in results["parity"].items()}
    told = ", ".join(f"{name} {mean(values):.3f} (worst {max(values):.3f})" for name, values in apart.items())
    rate = results["speed"]
    columns = {
        "time in 70-180 mg/dl %": "in_range",
        "adult": "in_range adult",
        "adolescent": "in_range adolescent",
        "child": "in_range child",
        "below 70 %": "below_70",
        "child, below 70 %": "below_70 child",
        "risk index": "bgri",
        "ended early %": "ended",
    }
    fixed = (
        [name, *(number(row.get(key), 2 if key == "bgri" else 1) for key in columns.values())]
        for name, row in results["anchors"].items()
    )
    measures = {"in_range": "time in 70-180 mg/dl %", "below_70": "below 70 %", "below_54": "below 54 %"}
    measures |= {"above_250": "above 250 %", "bgri": "risk index", "ended": "ended early %"}

    def cells(found: dict[str, list[float]]) -> list[str]:
        values = (found[key] for key in measures)
        return [f"{number(value, 1)} ({number(low, 1)} to {number(high, 1)})" for value, low, high in values]

    random = results["random"]
    shown = {**random["rows"], "PID less basal-bolus, run by run": random["PID less basal-bolus"]}
    drawn = ([f"{name}, {part}", *cells(found)] for name, parts in shown.items() for part, found in parts.items())
    return (
        "Our simulator, given the insulin and meals that simglucose 0.2.11 recorded in one day of each patient: root mean square"
        f" difference of glucose in mg/dl {told}. Errors of its sensor differ by {results['noise']:.0e} mg/dl at most."
        f" Patient-days a minute of processor time: simulator alone {rate['simulator']:,.0f}, in a closed loop"
        f" {rate['closed loop']:,.0f}; simglucose, in a closed loop, {rate['simglucose']:,.0f}.\n\n"
        "One day of fixed meals (07:00 45 g, 12:00 70 g, 16:00 15 g, 18:00 80 g, 23:00 10 g), by true glucose until the run"
        f" ends:\n\n{table(['', *columns], fixed)}\n\n"
        f"Meals drawn at random, {random['runs']} patient-days a row; the time after an early end counts as spent where it came;"
        " patients resampled. Gains of the PID were searched on other days, in"
        f" {results['tuning']['seconds']:.0f} s.\n\n{table(['', *measures.values()], drawn)}"
    )


MEASURES = {
    "time in 70-180 mg/dl %": "in_range",
    "below 70 %": "below_70",
    "below 54 %": "below_54",
    "above 250 %": "above_250",
    "risk index": "bgri",
    "ended early %": "ended",
    "carbohydrate against low glucose, g a day": "rescue",
}


def _rounded(value: Any) -> str:
    """Numbers of a bar, as a reader wants them."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_rounded(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_rounded, value))
    return number(value, 1)


def diabetes_plans(results: dict[str, Any]) -> str:
    def cells(found: dict[str, list[float]]) -> list[str]:
        values = (found[key] for key in MEASURES.values())
        return [f"{number(value, 1)} ({number(low, 1)} to {number(high, 1)})" for value, low, high in values]

    def block(part: dict[str, Any], heading: str) -> str:
        rows = [
            [f"{name}, {group}", *cells(found[group])]
            for name, found in part["rows"].items()
            for group in ("adult", "adolescent", "child")
        ]
        less = [
            [f"{name} less basal-bolus, {group}", *cells(found[group])]
            for name, found in part["less basal-bolus"].items()
            if name == "Puji"
            for group in ("adult", "adolescent", "child")
        ]
        lowest = ", ".join(f"{name} {number(value, 0)}" for name, value in part["lowest"].items())
        return f"{heading}\n\n{table(['', *MEASURES], rows + less)}\n\nLowest glucose of any run, mg/dl: {lowest}."

    model = results["model"]
    told = ([name, _rounded(value), "yes" if reached else "no"] for name, (value, reached) in results["bars"].items())
    return (
        f"{results['runs']} patient-days a row, patients 008 to 010 of each age group, who are in no log; means, patients"
        " resampled in the intervals (three in a group: an interval goes from the worst patient to the best). Carbohydrate is"
        f" announced with an error of {100 * results['error']:.0f} % (standard deviation). All eat against low glucose when they"
        " notice it, and all but one row dose through the same safety rules. Bolus calculator and plan have a correction factor"
        " that two weeks of the patient's own care tell, but on the first day. PID and hybrid are tuned on the patient's own"
        " simulator, which no clinic has. Learned from"
        f" {model['patient-days']:,.0f} patient-days of logs ({model['decisions']:,.0f} decisions) in"
        f" {model['seconds of processor time'] / 60:.1f} minutes of processor time.\n\n"
        + block(results["announced"], "Meals announced:")
        + "\n\n"
        + block(results["not announced"], "Meals not announced:")
        + f"\n\nThe bars of the issue, meals announced:\n\n{table(['bar', 'measured', 'reached'], told)}"
    )
