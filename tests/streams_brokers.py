"""Brokers for the tests of streams: amqtt within the process, mosquitto where it is installed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from puji.streams.broker import Embedded, free_port
from puji.streams.link import Address, Link
from puji.streams.service import Service

from .streams_cases import monitor

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
PATIENCE = 60.0
"""Seconds that a test waits for what must happen; more than enough on a busy machine."""


def until(condition, patience=PATIENCE):
    """Wait until ``condition()`` holds; its value."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


class Mosquitto:
    """mosquitto on a free port of this computer, with its files in ``folder``."""

    def __init__(self, folder: Path, *lines: str, port: int | None = None) -> None:
        self.port, self.folder = port or free_port(), folder
        self.config = folder / "mosquitto.conf"
        told = [f"listener {self.port} 127.0.0.1", "user root", "persistence true", f"persistence_location {folder}/"]
        self.config.write_text("\n".join([*told, "autosave_interval 1", *(lines or ["allow_anonymous true"])]) + "\n")

    def start(self):
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdout=quiet, stderr=quiet)
        until(lambda: _listens(self.port))
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Amqtt:
    """The embedded broker, which can be started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()

    def start(self):
        self.broker = Embedded(self.port).start()
        return self

    def kill(self):
        self.broker.stop()

    stop = kill


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Client:
    """A device or a listener: a plain client of paho."""

    def __init__(self, port, *topics, user=None, password=None, ca=None):
        self.received, self._topics = [], topics
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 2)
        if user:
            self._client.username_pw_set(user, password)
        if ca:
            self._client.tls_set(str(ca))
        self._ready = threading.Event()
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _, __, message: self.received.append((message.topic, message.payload))
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(PATIENCE)

    def _on_connect(self, client, *_):
        for topic in self._topics:
            client.subscribe(topic, qos=1)
        if not self._topics:
            self._ready.set()

    def send(self, topic, payload, qos=1):
        told = self._client.publish(topic, payload, qos=qos)
        told.wait_for_publish(PATIENCE)
        assert told.is_published()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        if self._client.socket() is not None:
            self._client.socket().close()


@contextmanager
def running(folder, address: Address, **options):
    """A service in a thread on the disk in ``folder``; ends in good order."""
    from puji.streams import clock

    one = monitor(folder, clock.system, **options)
    service = Service(Link(address, one.topics), one)
    failures = []

    def work():
        try:
            service.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        until(lambda: service.state.connected or failures)
        yield service
    finally:
        service.stop()
        thread.join(PATIENCE)
        one.store.close()
    assert not failures, failures


PROGRAM = """
import sys
from pathlib import Path
from puji.streams import clock
from puji.streams.forecaster import Persistence
from puji.streams.link import Address, Link
from puji.streams.monitor import Monitor
from puji.streams.service import Service
from puji.streams.store import Store
store = Store(Path(sys.argv[1]))
monitor = Monitor(store, Persistence(), clock.system)
service = Service(Link(Address(port=int(sys.argv[2])), monitor.topics), monitor)
service.run(lambda: Path(sys.argv[1], "connected").touch() if service.state.connected else None)
"""


def program(folder, port):
    """A stream in a process of its own, to be killed."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(port)])
