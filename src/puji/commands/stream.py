"""``puji stream``: follow devices live, real or virtual ones."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from puji.commands.interface import COUNT, PATH, POSITIVE, SEED, SHARE, TEXT, Command, Typed, one_of, option
from puji.commands.output import note, on_terminal
from puji.errors import Invalid
from puji.units import GLUCOSE_UNITS, ucum, use_glucose_unit

PORT, SECURE_PORT = 1883, 8883
STATE = "puji-stream"
PASSWORD = "PUJI_MQTT_PASSWORD"
SPEED = 300.0
"""Of virtual patients: a reading a second."""
SAVED = 40
"""Steps before the start that virtual sensors and pumps have saved: a plan asks what insulin was given in three hours."""
REFUSALS = 20
"""Refused patients of a file that are told one by one."""


def _port(text: str) -> int:
    value = int(text)
    if not 0 < value < 65_536:
        raise ValueError(text)
    return value


def _topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}(/[A-Za-z0-9._-]{1,60}){0,7}", text):
        raise ValueError(text)
    return text


def _unit(text: str) -> str:
    found = ucum(text)
    if found not in GLUCOSE_UNITS:
        raise ValueError(text)
    return found


def stream_command() -> Command:
    """``puji stream``."""
    number = "cli.metavar.number"

    def run(**values: Any) -> None:
        stream(**values)

    return Command(
        "stream",
        "cli.stream",
        run,
        [
            option("--simulate", kind=COUNT, metavar=number),
            option("--speed", kind=POSITIVE, metavar="cli.metavar.value"),
            option("--faults", kind=SHARE, metavar="cli.metavar.value"),
            option("--plans", kind=TEXT, metavar="cli.metavar.value"),
            option("--patients", kind=PATH, metavar="cli.metavar.file"),
            option("--host", kind=TEXT, metavar="cli.metavar.value"),
            option("--port", kind=Typed("port", _port, "cli.not_up_to", "65,535"), metavar=number),
            option("--user", kind=TEXT, metavar="cli.metavar.value"),
            option("--password-file", kind=PATH, metavar="cli.metavar.file"),
            option("--tls", is_flag=True),
            option("--ca", kind=PATH, metavar="cli.metavar.file"),
            option("--mqtt", kind=one_of("3.1.1", "5"), default="3.1.1", show_default=True),
            option(
                "--topic",
                kind=Typed("topic", _topic, "streams.bad_topic"),
                default="puji",
                show_default=True,
                metavar="cli.metavar.value",
            ),
            option("--session", kind=TEXT, default="puji-stream", show_default=True, metavar="cli.metavar.value"),
            option("--state", kind=PATH, metavar="cli.metavar.folder"),
            option("--seconds", kind=POSITIVE, metavar=number),
            option("--view", kind=one_of("table", "lines")),
            option("--unit", kind=Typed("unit", _unit, "streams.bad_unit"), metavar="cli.metavar.value"),
            option("--seed", kind=SEED, default="0", show_default=True, metavar=number),
        ],
    )


def _password(file: Path | None, user: str | None) -> str | None:
    """Never from the command line, which everybody on the computer can read."""
    found = os.environ.get(PASSWORD)
    if file is not None:
        try:
            found = file.read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Invalid("streams.password", source=str(file), why=why) from error
    if found is not None and user is None and file is not None:
        raise Invalid("streams.password_user", source="--password-file")
    return found if user is not None else None


def _check(values: dict[str, Any]) -> None:
    if values["host"] is None and values["simulate"] is None:
        raise Invalid("streams.no_source")
    if values["simulate"] is None and (values["speed"] is not None or values["faults"] is not None):
        raise Invalid("streams.speed_alone")
    if values["ca"] is not None and not values["tls"]:
        raise Invalid("streams.ca_alone")


def _people(file: Path | None, virtual: int | None) -> dict[str, Any]:
    """What the patients of ``file`` and so many ``virtual`` ones usually get, by patient; says who is too young for NEWS2."""
    if file is None and virtual is None:
        return {}
    from puji.streams import settings
    from puji.streams.devices import chosen, identifiers
    from puji.streams.vitals import ADULT

    known = {} if virtual is None else settings.virtual(chosen(virtual), identifiers(virtual))
    if file is not None:
        told, refused = settings.read(file)
        known |= told
        note("streams.patients.told", taken=len(told), refused=len(refused))
        for refusal in refused[:REFUSALS]:
            note("streams.patients.refused", why=refusal.message())
    if young := sum(one.age < ADULT for one in known.values()):
        note("streams.patients.young", n=young, age=f"{ADULT:g}")
    return known


def _planner(plans: str | None, file: Path | None, virtual: int | None, known: dict[str, Any]) -> Any:
    """Who plans for the ``known`` patients; None: nobody."""
    if plans is None and file is None and virtual is None:
        return None
    from puji import registry
    from puji.streams.diabetes_planner import RELEASED, DiabetesPlanner

    if not known:
        raise Invalid("streams.plans.patients", source="--plans")
    if plans is None and RELEASED not in registry.shipped():
        if file is not None:
            raise Invalid("streams.plans.missing", name=RELEASED)
        note("streams.plans.none", name=RELEASED)
        return None
    return DiabetesPlanner(registry.load(plans or RELEASED), known, simulated=virtual is not None)


@contextmanager
def stopping(service: Any, seconds: float | None) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of ``seconds`` end ``service`` in good order; a second Ctrl-C at once."""

    def end(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        service.stop()

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = threading.Timer(seconds or 0.0, service.stop)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def stream(**values: Any) -> None:
    """Put broker, devices, monitor and view together, and run them until somebody ends it."""
    _check(values)
    password = _password(values["password_file"], values["user"])
    use_glucose_unit(values["unit"])
    # Only now what takes time to import.
    import torch

    from puji.streams import clock as clocks
    from puji.streams import weights
    from puji.streams.broker import Embedded
    from puji.streams.devices import Devices
    from puji.streams.engine_forecaster import EngineForecaster
    from puji.streams.link import Address, Link
    from puji.streams.monitor import ACCEPTED, Monitor
    from puji.streams.service import Service
    from puji.streams.store import Store
    from puji.streams.view import Lines, LiveView

    torch.set_num_threads(1)  # many small products: threads would only wait for each other
    simulated, speed = values["simulate"], None
    clock: clocks.Clock = clocks.system
    with ExitStack() as stack:
        folder = values["state"]
        if folder is None and simulated is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="puji-stream-")))
        people = _people(values["patients"], simulated)
        planner = _planner(values["plans"], values["patients"], simulated, people)
        forecaster = EngineForecaster(weights.load(), spread=weights.spread())
        store = Store(folder or Path(STATE))
        stack.callback(store.close)
        if simulated is not None:
            speed = values["speed"] or SPEED
            # An earlier play in the same folder may have come to a time that is still ahead of us.
            played = store.newest()
            clock = clocks.Fast(speed, played)
        host, port = values["host"], values["port"]
        if host is None:
            port = stack.enter_context(Embedded(port)).port
        address = Address(
            host or "127.0.0.1",
            port or (SECURE_PORT if values["tls"] else PORT),
            values["session"],
            values["user"],
            password,
            values["tls"],
            values["ca"],
            values["mqtt"] if host else "3.1.1",
        )
        if host not in (None, "127.0.0.1", "::1", "localhost") and not values["tls"]:
            note("streams.plain")
        topic = values["topic"]
        ages = {name: one.age for name, one in people.items()}
        monitor = Monitor(
            store, forecaster, clock, topic=topic, planner=planner, simulated=simulated is not None, ages=ages
        )
        service = Service(Link(address, monitor.topics), monitor)
        note("streams.started", where=f"{address.host}:{address.port}", topic=topic)
        if simulated is not None:
            devices = Devices(
                simulated,
                address,
                clock,
                topic=topic,
                seed=values["seed"],
                faults=values["faults"] or 0.0,
                saved=0 if played else SAVED,
            )
            devices.start()
            stack.callback(devices.stop)
        alive = values["view"] == "table" or (values["view"] is None and on_terminal())
        if speed is not None and not alive:
            note("streams.view.ahead", speed=f"{speed:g}")
        view = LiveView(service, clock, speed, sys.stdout) if alive else Lines(service, sys.stdout)
        with stopping(service, values["seconds"]), view as watch:
            service.run(watch)
        _report(monitor, ACCEPTED)


def _report(monitor: Any, accepted: str) -> None:
    """What was taken and refused, and why."""
    taken = monitor.counts[accepted]
    note("streams.ended", taken=taken, refused=sum(monitor.counts.values()) - taken)
    for reason, n in monitor.counts.most_common():
        if reason != accepted:
            example = monitor.examples.get(reason)
            note("streams.ended_why", n=n, why=example.message() if example else reason)
