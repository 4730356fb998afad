"""Sections of RESULTS.md about treatment plans."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report_tables import number, table


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
