"""A monitor on a broker: takes messages in batches, keeps them, acknowledges them, and sends what follows from them."""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from puji.streams.clock import speed_of
from puji.streams.link import Acknowledged, Connected, Event, Link, Lost, Received
from puji.streams.monitor import FRESH, Monitor

BATCH = 500
"""Messages of one transaction."""
UNDERWAY = 400
"""Messages that are sent before the broker has acknowledged the first of them."""
AT_ONCE = 8
"""Patients that are forecast in one transaction: what was forecast is sent before others are."""
TICK = 1.0
"""Seconds between two looks at who is silent."""
LONGEST = 2.0
"""Seconds that a batch and the wait for it take at most: what is longer, this program slept or hung. Where virtual patients live
fast, a third of the time after which a device is silent."""


@dataclass
class State:
    """What the service is doing, for whoever watches."""

    connected: bool = False
    why: str = ""
    """Why not."""
    lost: int = 0
    """How often a connection was lost."""
    sent: int = 0


class Service:
    """Runs in the thread that calls `run`, which alone touches monitor and store."""

    def __init__(self, link: Link, monitor: Monitor) -> None:
        self.link, self.monitor, self.state = link, monitor, State()
        self.lock = threading.Lock()
        """Held while a batch changes the monitor: who watches from another thread takes it."""
        self._ending = threading.Event()
        self._underway: dict[int, int] = {}  # what the broker calls a message -> its place in the outbox
        self._sent_to = 0
        self._ticked = 0.0
        self._awake: int | None = None  # by the monitor's clock

    def stop(self) -> None:
        """Let `run` end in good order, from any thread."""
        self._ending.set()

    def run(self, watch: Callable[[], None] = lambda: None) -> None:
        """Until `stop`: connect and work; what was taken is kept and acknowledged. ``watch`` is called after each batch.

        Raises Invalid if the broker refuses us for good, or the disk does.
        """
        # What was imported and loaded stays: without this, the collector looks through all of it again and again.
        gc.freeze()
        try:
            self._batch([])
            self.link.open()
            while not self._ending.is_set():
                self._batch(self._events(0.0 if self.monitor.waiting else 0.2))
                self._drain()
                watch()
            self._batch(self._events(0.0))
            self._drain()
            # Give the broker a moment to acknowledge: what it does not, is sent again at the next start.
            until = time.monotonic() + 2
            while self._underway and time.monotonic() < until and self.link.connected.is_set():
                self._batch(self._events(0.1))
        finally:
            self.link.close()
            gc.unfreeze()

    def _events(self, wait: float = 0.2) -> list[Event]:
        """All that has happened, up to a batch; waits for the first."""
        found: list[Event] = []
        try:
            found.append(self.link.events.get(timeout=wait) if wait else self.link.events.get_nowait())
            while len(found) < BATCH:
                found.append(self.link.events.get_nowait())
        except queue.Empty:
            pass
        return found

    def _batch(self, events: list[Event]) -> None:
        """One transaction; then, and only then, the messages of it are acknowledged."""
        now, before = self.monitor.clock(), self._awake
        self._awake = now
        usual = int(min(LONGEST * speed_of(self.monitor.clock), FRESH / 3) * 1000)
        if before is not None and now < before:
            self.monitor.stalls.back(now)
        elif before is not None and (stall := now - before - usual) > 0:
            self.monitor.stalls.add(now, stall)
        messages: list[Received] = []
        due = time.monotonic() - self._ticked >= TICK
        if events or due or self.monitor.waiting:
            with self.lock, self.monitor.store.batch():
                for event in events:
                    if isinstance(event, Received):
                        self.monitor.take(event.topic, event.payload)
                        messages.append(event)
                    else:
                        self._note(event)
                if due:
                    self.monitor.tick()
                    self._ticked = time.monotonic()
                self.monitor.settle(AT_ONCE)
        for message in messages:
            self.link.done(message)

    def _note(self, event: Event) -> None:
        if isinstance(event, Acknowledged):
            seq = self._underway.pop(event.mid, None)
            if seq is not None:
                self.monitor.store.sent(seq)
                self.state.sent += 1
        elif isinstance(event, Connected):
            self.state.connected, self.state.why = True, ""
        elif isinstance(event, Lost):
            self.state.lost += self.state.connected
            self.state.connected, self.state.why = False, event.why
            if event.fatal is not None:
                raise event.fatal

    def _drain(self) -> None:
        """Send what waits, in order. What is under way when a connection breaks, the client sends again itself."""
        if not self.link.connected.is_set() or len(self._underway) >= UNDERWAY:
            return
        for seq, message in self.monitor.store.outbox(self._sent_to, UNDERWAY - len(self._underway)):
            mid = self.link.send(message.topic, message.payload)
            if mid is None:
                return
            self._underway[mid] = seq
            self._sent_to = seq


__all__ = ["Service", "State"]
