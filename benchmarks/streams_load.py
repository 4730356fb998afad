"""The devices of the soak, in a process of their own: they send readings at a fixed pace and wait for the forecasts.

    python -m benchmarks.streams_load PORT SLOW FAST SECONDS OUT

SLOW patients send a reading every five minutes, spread evenly; FAST patients one a second. First, each sends the hour before.
Writes how many were sent, for each reading that was forecast when it was sent and the seconds from then to receiving the
forecast, and how late a thread was woken that asked for it every 50 ms: what the machine adds by itself.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import zlib
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from puji.streams.samples import observation, told

STEP = 300.0
PAUSE = 0.05


class Load:
    def __init__(self, port: int) -> None:
        self.sent: dict[str, float] = {}
        self.latency: list[tuple[float, float]] = []
        self.count = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="load")
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = self._on_message
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("puji/+/forecast", qos=1)
        ready.wait(60)

    def _on_message(self, client: object, userdata: object, message: mqtt.MQTTMessage) -> None:
        now = time.perf_counter()
        for one in json.loads(message.payload).get("derivedFrom", ()):
            started = self.sent.pop(one["reference"].removeprefix("Observation/"), None)
            if started is not None:
                self.latency.append((started, now - started))

    def send(self, patient: str, at: float, measured: bool) -> None:
        """A reading of ``at``, seconds since 1970, on a slow wave."""
        resource = observation(
            patient, round(at * 1000), 130 + 50 * math.sin(at / 3000 + zlib.crc32(patient.encode()) % 100)
        )
        payload = told(resource)
        if measured:
            self.sent[resource["id"]] = time.perf_counter()
        self._client.publish(f"puji/{patient}/observation", payload, qos=1)
        self.count += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def woken(late: list[float], ending: threading.Event) -> None:
    """Until ``ending``: ask to be woken every `PAUSE` seconds, and write down how late that was."""
    while not ending.is_set():
        asked = time.perf_counter() + PAUSE
        time.sleep(PAUSE)
        late.append(time.perf_counter() - asked)


def main() -> None:
    port, slow, fast = (int(word) for word in sys.argv[1:4])
    seconds = float(sys.argv[4])
    load = Load(port)
    begin = time.time() + (slow + fast) / 10  # when the hour before has been taken in
    patients = [f"slow-{n}" for n in range(slow)] + [f"fast-{n}" for n in range(fast)]
    # Each patient's readings lie at its own place within the steps.
    due = {name: begin + (place * STEP / slow if place < slow else 1.0) for place, name in enumerate(patients)}
    for back in range(12, 0, -1):
        for name in patients:
            load.send(name, due[name] - back * STEP, measured=False)
    history = load.count
    behind = 0.0
    late: list[float] = []
    ending = threading.Event()
    first = time.perf_counter() + begin - time.time()
    threading.Thread(target=woken, args=(late, ending), daemon=True).start()
    while (now := time.time()) < begin + seconds:
        for name in patients:
            if due[name] <= now:
                behind = max(behind, now - due[name])
                load.send(name, due[name], measured=True)
                due[name] += STEP if name.startswith("slow") else 1.0
        time.sleep(max(0.0, min(min(due.values()) - time.time(), 0.5)))
    time.sleep(min(10.0, seconds / 2))
    ending.set()
    latency = [(at - first, seconds) for at, seconds in load.latency]
    result = {"history": history, "sent": load.count - history, "latency": latency, "woken_late": late}
    result["most_behind"] = behind
    Path(sys.argv[5]).write_text(json.dumps(result), "utf-8")
    load.close()


if __name__ == "__main__":
    main()
