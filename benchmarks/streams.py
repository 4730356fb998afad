"""Live streams: how good the forecasts are, how many patients a core follows, how long a forecast takes, what a patient weighs.

    python -m benchmarks streams                          all of it, with a soak of ten minutes
    python -m benchmarks.streams soak --minutes 2         one part: capacity, soak, forecaster, or plans

The soak: a broker (mosquitto, else amqtt) and the devices run in processes of their own, on loopback; this process is the stream.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import common, streams_forecaster
from puji import registry
from puji.modalities.plans.diabetes.logs import LOGGED
from puji.streams import clock as clocks
from puji.streams import settings, weights
from puji.streams.broker import free_port
from puji.streams.devices import chosen, identifiers
from puji.streams.diabetes_planner import RELEASED, DiabetesPlanner
from puji.streams.engine_forecaster import EngineForecaster
from puji.streams.forecaster import replay
from puji.streams.link import Address, Link
from puji.streams.monitor import ACCEPTED, Monitor
from puji.streams.observation import Reading
from puji.streams.samples import observation, told
from puji.streams.service import Service
from puji.streams.store import Store
from puji.streams.window import Limits, Window

MINUTES = 10.0
SLOW, FAST = 300, 20
"""Patients of the soak with a reading every five minutes, and with one a second."""
STEP = 300_000
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
AMQTT = """
import sys, time
from puji.streams.broker import Embedded
Embedded(int(sys.argv[1])).start()
time.sleep(1e6)
"""


def memory() -> float:
    """Resident now, MB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = clocks.system() // STEP * STEP

    def __call__(self) -> int:
        return self.now


def capacity(forecaster: EngineForecaster, folder: Path, patients: int, steps: int) -> dict[str, float]:
    """Processor seconds a message of the monitor and its disk, without the network, and memory.

    ``slow``: each message is a step of five minutes and is forecast; ``fast``: one a second, the first of a step is forecast.
    """
    clock = Hands()
    names = [f"p{n}" for n in range(patients)]
    monitor = Monitor(Store(folder / "slow"), forecaster, clock)
    replay(forecaster, "warm", [100.0] * 144).forecast()  # what is compiled and allocated once belongs to no patient
    before = memory()

    def batch(monitor: Monitor, names: list[str]) -> None:
        messages = [
            (f"puji/{name}/observation", told(observation(name, clock.now, 100 + clock.now // STEP % 60)))
            for name in names
        ]
        started = time.process_time()
        with monitor.store.batch():
            for topic, payload in messages:
                monitor.take(topic, payload)
            monitor.settle()
            # As after the broker has them.
            for seq, _ in monitor.store.outbox(0, 10_000):
                monitor.store.sent(seq)
        batch.seconds += time.process_time() - started  # type: ignore[attr-defined]

    def run(monitor: Monitor, names: list[str], times: int, milliseconds: int) -> float:
        batch.seconds = 0.0  # type: ignore[attr-defined]
        for _ in range(times):
            clock.now += milliseconds
            batch(monitor, names)
        return float(batch.seconds) / (times * len(names))  # type: ignore[attr-defined]

    # A full window first, and everything warm; its forecasts are not made.
    for patient_steps in range(144):
        clock.now += STEP
        with monitor.store.batch():
            for name in names:
                monitor.take(f"puji/{name}/observation", told(observation(name, clock.now, 100 + patient_steps % 60)))
            if patient_steps < 143:
                monitor._now.clear()
    with monitor.store.batch():
        monitor.settle()
    grown = (memory() - before) / patients
    slow = run(monitor, names, steps, STEP)
    monitor.store.close()
    monitor = Monitor(Store(folder / "fast"), forecaster, clock)
    few = names[:10]
    run(monitor, few, 20, 1000)
    fast = run(monitor, few, 120 * steps, 1000)
    monitor.store.close()
    return {
        "slow_ms": slow * 1000,
        "fast_ms": fast * 1000,
        "patients_slow": 300 / slow,
        "patients_fast": 1 / fast,
        "patient_mb": grown,
        "patients": patients,
    }


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this computer."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def broker(folder: Path) -> Iterator[tuple[str, int]]:
    """A broker in a process of its own: its name and port."""
    port = free_port()
    if MOSQUITTO:
        config = folder / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "max_queued_messages 100000"]
        config.write_text("\n".join(lines) + "\n", "ascii")
        words = [MOSQUITTO, "-c", str(config)]
    else:
        words = [sys.executable, "-c", AMQTT, str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not listens(port):  # who comes too early waits a second
            if process.poll() is not None:
                raise RuntimeError(f"the broker did not start: {' '.join(words)}")
            time.sleep(0.01)
        yield ("mosquitto" if MOSQUITTO else "amqtt"), port
    finally:
        process.kill()
        process.wait()


def soak(forecaster: EngineForecaster, minutes: float, slow: int = SLOW, fast: int = FAST) -> dict[str, Any]:
    """Readings in, forecasts out, for ``minutes`` on loopback."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with broker(folder) as (name, port):
            monitor = Monitor(Store(folder / "state"), forecaster, clocks.system)
            service = Service(Link(Address(port=port), ["puji/+/observation", "puji/+/administration"]), monitor)
            out = folder / "load.json"
            ended: list[int] = []

            def load() -> None:
                while not service.state.connected:
                    time.sleep(0.05)
                time.sleep(0.2)
                words = [str(port), str(slow), str(fast), str(minutes * 60), str(out)]
                ended.append(
                    subprocess.run([sys.executable, "-m", "benchmarks.streams_load", *words], check=False).returncode
                )
                service.stop()

            thread = threading.Thread(target=load, daemon=True)
            thread.start()
            marks: list[tuple[float, float, float]] = []

            def watch() -> None:
                if not marks or time.monotonic() - marks[-1][0] >= 15:
                    marks.append((time.monotonic(), time.process_time(), memory()))

            started, used = time.monotonic(), time.process_time()
            service.run(watch)
            thread.join()
            seconds, used = time.monotonic() - started, time.process_time() - used
            told_by = json.loads(out.read_text("utf-8"))
            sent_at, latency = np.array(told_by["latency"]).T
            late = np.array(told_by["woken_late"])
            middle = marks[len(marks) // 2]
            refused = {what: n for what, n in monitor.counts.items() if what != ACCEPTED}
            monitor.store.close()
            return {
                "broker": name,
                "minutes": minutes,
                "slow": slow,
                "fast": fast,
                "sent": told_by["sent"],
                "history": told_by["history"],
                "accepted": monitor.counts[ACCEPTED],
                "refused": refused,
                "forecasts": len(latency),
                "latency_p50_ms": float(np.quantile(latency, 0.5)) * 1000,
                "latency_p99_ms": float(np.quantile(latency, 0.99)) * 1000,
                "latency_most_ms": float(latency.max()) * 1000,
                "slowest_sent_at_s": sent_at[np.argsort(-latency)[:10]].round(1).tolist(),
                "woken_late_ms": {
                    name: float(np.quantile(late, q)) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99))
                },
                "devices_most_behind_s": told_by["most_behind"],
                "processor_share": used / seconds,
                "memory_mb": {"middle": middle[2], "end": marks[-1][2]},
                "devices_failed": ended != [0],
            }


def plans(name: str, patients: int = 20, times: int = 5) -> dict[str, float]:
    """Processor seconds of a plan by the model ``name`` (a released one, or a folder), with all that is told of insulin."""
    known = settings.virtual(chosen(patients), identifiers(patients))
    planner = DiabetesPlanner(registry.load(name), known)
    now = clocks.system() // STEP * STEP
    windows = {}
    for patient in known:
        window = windows[patient] = Window(patient, Limits())
        for back in range(144, -1, -1):
            at = now - back * STEP
            window.place([Reading(patient, "glucose", at, 100.0 + back % 60, f"g{back}")], now)
            window.place([Reading(patient, "basal", at, 0.5 + back % 5 / 10, f"b{back}")], now)
            if back % 36 == 5:
                window.place([Reading(patient, "bolus", at, 3.0, f"i{back}")], now)
                window.place([Reading(patient, "carbohydrate", at, 40.0, f"c{back}")], now)
    for patient, window in windows.items():
        planner.plan(patient, window, now)  # all that is loaded and compiled once
    started = time.process_time()
    for _ in range(times):
        for patient, window in windows.items():
            planner.plan(patient, window, now)
    return {"plan_ms": (time.process_time() - started) / (times * patients) * 1000, "model": Path(name).name}


def part(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One of `PARTS`, with when, by which commit and in how many seconds it ran."""
    torch.set_num_threads(1)
    quick = asked.quick
    started = time.perf_counter()
    if name == "soak":
        found = soak(forecaster(), asked.minutes, asked.slow, asked.fast)
    elif name == "capacity":
        with tempfile.TemporaryDirectory() as folder:
            found = capacity(forecaster(), Path(folder), 2 if quick else 100, 1 if quick else 5)
    elif name == "plans":
        found = plans(asked.plans)
    else:
        ours = forecaster()
        train = streams_forecaster.traces(
            LOGGED[::4] if quick else LOGGED, 1 if quick else 2, seed=7, days=1 if quick else 2
        )
        sizes = (1, 96, 4) if quick else (3, 12, ours.samples)
        scores = streams_forecaster.judge(ours.network, train, *sizes, ours.spread, days=1 if quick else 2)
        found = {"scores": scores, "weights": json.loads((weights.FOLDER / weights.CARD).read_text("utf-8"))}
    seconds = round(time.perf_counter() - started, 1)
    return {**found, "run": {"commit": common.COMMIT, "date": time.strftime("%Y-%m-%d"), "seconds": seconds}}


def forecaster() -> EngineForecaster:
    """The released one."""
    return EngineForecaster(weights.load(), spread=weights.spread())


PARTS = ("capacity", "soak", "forecaster", "plans")
QUICK = argparse.Namespace(quick=True, minutes=1 / 120, slow=2, fast=2, plans=RELEASED)
FULL = argparse.Namespace(quick=False, minutes=MINUTES, slow=SLOW, fast=FAST, plans=RELEASED)


def run(quick: bool) -> dict[str, Any]:
    """All of it; plans only where a model for them is released."""
    parts = [name for name in PARTS if name != "plans" or RELEASED in registry.shipped()]
    return {name: part(name, QUICK if quick else FULL) for name in parts}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("part", choices=PARTS, help="run this part anew, and leave the other results as they are")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of the soak")
    parser.add_argument("--slow", type=int, default=SLOW, help="patients with a reading every five minutes")
    parser.add_argument("--fast", type=int, default=FAST, help="patients with a reading a second")
    parser.add_argument("--plans", default=RELEASED, help="model of the part plans: a released one, or a folder")
    parser.add_argument("--dry", action="store_true", help="only print")
    asked = parser.parse_args()
    results = part(asked.part, argparse.Namespace(**vars(asked), quick=False))
    print(json.dumps(results, indent=1), flush=True)
    if asked.dry:
        return
    sys.argv[1:] = ["streams"]  # the command that gives all parts
    known = (common.read("streams") or {}).get("results", {})
    found = {**known, asked.part: results}
    common.write(
        "streams", found, quick=False, seconds=sum(one.get("run", {}).get("seconds", 0.0) for one in found.values())
    )


if __name__ == "__main__":
    main()
