"""The section of RESULTS.md about live streams."""

from __future__ import annotations

from typing import Any

from benchmarks.report_tables import number, table


def ran(told: dict[str, Any]) -> str:
    """By which commit a part ran, and how long."""
    run = told.get("run")
    return f" (commit {run['commit']}, {run['date']}, {run['seconds']:,.0f} s)" if run else ""


def busy(told: dict[str, Any]) -> str:
    """What the machine adds by itself: how late a process is woken that asks for it every 50 ms."""
    late = told.get("woken_late_ms")
    if not late:
        return ""
    return (
        f" A process that asked to be woken every 50 ms was {late['p50']:.1f} ms late (median), {late['p99']:.0f} ms at 99 %: so"
        " busy was the machine with other work."
    )


def streams(results: dict[str, Any]) -> str:
    parts = []
    if told := results.get("forecaster"):
        rows = [
            [
                f"{name}, {group}",
                *(
                    f"{number(found[minutes]['rmse'], 1)}, {found[minutes]['coverage']:.0%} in {found[minutes]['width']:.0f} wide"
                    for minutes in ("30", "60")
                ),
                f"{found['30']['n']:,}",
            ]
            for group, methods in told["scores"].items()
            for name, found in (
                (one, {str(minutes): score for minutes, score in values.items()}) for one, values in methods.items()
            )
        ]
        tokens = told["weights"]["tokens"] + told["weights"].get("start", {}).get("tokens", 0)
        parts.append(
            "Glucose that the sensor will show, patients 009 and 010 of each age group (never trained on), who care for"
            " themselves with mistakes; no meals, insulin or time of day are told. Weights that saw"
            f" {tokens / 1e6:.1f} million tokens. Root mean square error in mg/dl, and how much of it the 80 % interval"
            " holds; its width was fitted on patients 008 (factor"
            f" {told['weights'].get('spread', {}).get('factor', 1):.3g}). Rules take"
            " their intervals, and the line its length, from the training patients."
            f"{ran(told)}\n\n{table(['', 'in 30 minutes', 'in 60 minutes', 'forecasts'], rows)}"
        )
    if told := results.get("capacity"):
        often = 1000 / (told["fast_ms"] + told["slow_ms"] / 300)
        parts.append(
            f"One core, monitor and disk without the network: {told['slow_ms']:.1f} ms of processor time for a reading that is"
            f" forecast, {told['fast_ms']:.2f} ms for one that is not: {told['patients_slow']:,.0f} patients at one reading"
            f" every five minutes, {often:,.0f} at one a second (forecast every 300th). Memory of a patient with a full window:"
            f" {told['patient_mb'] * 1000:,.0f} kB ({told['patients']} patients).{ran(told)}"
        )
    if told := results.get("soak"):
        refused = sum(told["refused"].values())
        parts.append(
            f"{told['minutes']:g} minutes on loopback ({told['broker']}): {told['slow']} patients with a reading every five"
            f" minutes, {told['fast']} with one a second. {told['sent'] + told['history']:,} readings sent,"
            f" {told['accepted']:,} taken, {refused} refused. From sending a reading to receiving its forecast: median"
            f" {told['latency_p50_ms']:.0f} ms, 99 %"
            f" {told['latency_p99_ms']:.0f} ms, most {told['latency_most_ms']:.0f} ms ({told['forecasts']} forecasts). Processor:"
            f" {told['processor_share']:.1%} of a core; resident memory {told['memory_mb']['middle']:.0f} MB halfway,"
            f" {told['memory_mb']['end']:.0f} MB at the end.{busy(told)}{ran(told)}"
        )
    if told := results.get("plans"):
        parts.append(
            f"A treatment plan for type-1 diabetes, from a window of twelve hours to FHIR: {told['plan_ms']:.1f} ms of processor"
            f" time (model {told['model']}).{ran(told)}"
        )
    return "\n\n".join(parts)
