"""The stream on real brokers: readings in, forecasts out; brokers that die, programs that are killed, TLS and passwords."""

import gc
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

import puji
from puji.errors import Invalid
from puji.streams import clock
from puji.streams.link import Address, Link
from puji.streams.monitor import ACCEPTED
from puji.streams.samples import bolus, observation, told
from puji.streams.service import Service
from puji.streams.store import Store

from .streams_brokers import MOSQUITTO, Amqtt, Client, Mosquitto, program, running, until
from .streams_cases import STEP, monitor

installed = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
BROKERS = [pytest.param(Amqtt, id="amqtt"), pytest.param(Mosquitto, id="mosquitto", marks=installed)]


@pytest.fixture(params=BROKERS)
def broker(request, tmp_path):
    (tmp_path / "broker").mkdir()
    one = request.param(tmp_path / "broker").start()
    yield one
    one.stop()


def series(n, patient="p1", value=120):
    """``n`` readings, five minutes apart, up to now."""
    now = clock.system() // STEP * STEP
    return [told(observation(patient, now - (n - 1 - place) * STEP, value + place % 7)) for place in range(n)]


def taken(service):
    return service.monitor.counts[ACCEPTED]


def test_readings_come_in_and_forecasts_go_out(broker, tmp_path):
    listener = Client(broker.port, "puji/+/forecast", "puji/+/alert")
    with running(tmp_path / "state", Address(port=broker.port)) as service:
        device = Client(broker.port)
        for place, payload in enumerate(series(6, value=60)):
            device.send("puji/p1/observation", payload, qos=place % 3)
        device.send("puji/p1/observation", b"garbage")
        device.send("puji/p2/observation", series(1, "p1")[0])
        until(lambda: len(service.monitor.counts) == 3)
        assert taken(service) == 6
        device.send("puji/p1/administration", told(bolus("p1", clock.system(), 2.5)))
        until(lambda: taken(service) == 7)
        assert "bolus" in service.monitor.patients["p1"].window.series
        until(lambda: any(topic.endswith("alert") for topic, _ in listener.received))
        until(lambda: not service.monitor.store.outbox(0, 10))
        device.close()
    topics = {topic for topic, _ in listener.received}
    assert topics == {"puji/p1/forecast", "puji/p1/alert"}
    assert json.loads(listener.received[-1][1])["subject"] == {"reference": "Patient/p1"}
    listener.close()


def test_a_broker_that_dies_and_comes_back(broker, tmp_path):
    readings = series(20)
    with running(tmp_path / "state", Address(port=broker.port)) as service:
        device = Client(broker.port)
        for payload in readings[:8]:
            device.send("puji/p1/observation", payload)
        until(lambda: taken(service) == 8)
        broker.kill()
        until(lambda: not service.state.connected)
        time.sleep(0.5)
        broker.start()
        until(lambda: service.state.connected)
        # The device was not told by the dead broker what arrived: it sends the last ones again.
        for payload in readings[4:]:
            device.send("puji/p1/observation", payload)
        until(lambda: taken(service) == 20)
        assert service.monitor.counts["streams.refused.duplicate"] == 4
        assert service.state.lost >= 1
        until(lambda: not service.monitor.store.outbox(0, 10))
        device.close()


def test_a_broker_that_is_not_there_yet(tmp_path):
    broker = Amqtt(tmp_path)
    one = monitor(tmp_path / "state", clock.system)
    service = Service(Link(Address(port=broker.port), ["puji/+/observation"]), one)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    time.sleep(0.3)
    assert not service.state.connected
    broker.start()
    until(lambda: service.state.connected)
    service.stop()
    thread.join(30)
    assert not thread.is_alive()
    broker.stop()
    one.store.close()


@installed
def test_a_program_that_is_killed_loses_and_repeats_nothing(tmp_path):
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker").start()
    listener = Client(broker.port, "puji/+/forecast")
    device = Client(broker.port)
    state = tmp_path / "state"
    patients = [f"p{n}" for n in range(6)]
    readings = {name: series(30, name) for name in patients}
    running_one = program(state, broker.port)
    until((state / "connected").exists)  # from now on the broker has a session of ours
    time.sleep(0.3)
    for place in range(30):
        for name in patients:
            device.send(f"puji/{name}/observation", readings[name][place])
        if place in (4, 13, 22):
            running_one.kill()  # SIGKILL, wherever it is
            running_one.wait()
            running_one = program(state, broker.port)
    last = {json.loads(readings[name][-1])["id"] for name in patients}

    def forecast():
        found = (json.loads(payload).get("derivedFrom") for _, payload in list(listener.received))
        return last <= {one[0]["reference"].removeprefix("Observation/") for one in found if one}

    until(forecast)
    running_one.terminate()  # no handler of its own: as a kill
    running_one.wait()
    store = Store(state)
    rows = list(store.readings())
    told_ids = {json.loads(payload)["id"] for payloads in readings.values() for payload in payloads}
    tallies = store.tallies()
    assert {row.id for row in rows} == told_ids
    assert len(rows) == 180
    assert sum(n for (_, what), n in tallies.items() if what == ACCEPTED) == 180
    assert {what for _, what in tallies} <= {ACCEPTED, "streams.refused.duplicate"}
    store.close()
    device.close()
    listener.close()
    broker.stop()


@installed
def test_what_came_while_we_were_away_is_kept_by_the_session(tmp_path):
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker").start()
    for version in ("3.1.1", "5"):
        address = Address(port=broker.port, version=version, name=f"puji-{version}")
        name = f"p{version[0]}"
        with running(tmp_path / version, address) as service:
            until(lambda: service.state.connected)
            time.sleep(0.3)
        device = Client(broker.port)
        for payload in series(5, name):
            device.send(f"puji/{name}/observation", payload)
        device.close()
        with running(tmp_path / version, address) as service:
            until(lambda: taken(service) >= 5)
    broker.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and a certificate of localhost that it signed."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-x509", *new, "-subj", "/CN=Another authority", "-keyout", "other.key", "-out", "other.pem")
    openssl("req", *new[:3], "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "names", "-out", "server.pem"),
    )
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(folder / "passwords"), "ward", "secret"], check=True)
    return folder


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@installed
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_tls_and_passwords(certificates, tmp_path, version):
    broker = Mosquitto(
        tmp_path,
        f"certfile {certificates / 'server.pem'}",
        f"keyfile {certificates / 'server.key'}",
        "allow_anonymous false",
        f"password_file {certificates / 'passwords'}",
    ).start()

    def address(user="ward", password="secret", ca="ca.pem"):
        return Address("127.0.0.1", broker.port, "puji", user, password, True, certificates / ca, version)

    with running(tmp_path / "state", address()) as service:
        device = Client(broker.port, user="ward", password="secret", ca=certificates / "ca.pem")
        for payload in series(4):
            device.send("puji/p1/observation", payload)
        until(lambda: taken(service) == 4)
        device.close()
    for wrong, reason in (
        (address(password="guess"), "streams.broker_refused"),
        (address(user=None), "streams.broker_refused"),
        (address(ca="other.pem"), "streams.tls"),
    ):
        one = monitor(tmp_path / "other", clock.system)
        with pytest.raises(Invalid) as refusal:
            Service(Link(wrong, ["puji/+/observation"]), one).run()
        assert refusal.value.reason == reason
        assert "secret" not in refusal.value.message()
        one.store.close()
    with pytest.raises(Invalid, match="certificates"):
        Link(address(ca="passwords"), [])
    broker.stop()
    del refusal, one
    gc.collect()  # here, not in the next test


def test_a_disk_that_is_full_stops_the_program_and_acknowledges_nothing(tmp_path, monkeypatch):
    from puji.streams.link import Received

    one = monitor(tmp_path / "state", clock.system)
    link = Link(Address(), [])
    service = Service(link, one)
    done = []
    monkeypatch.setattr(link, "done", done.append)
    payloads = series(3)
    service._batch([Received("puji/p1/observation", payloads[0], 1, 1)])
    assert len(done) == 1
    one.store._db.execute("pragma max_page_count = 1")

    with pytest.raises(Invalid) as refusal:
        for place in range(1, 3):
            padded = [
                Received(f"puji/p{n}/observation", told(observation(f"p{n}", clock.system(), 99)), n, 1)
                for n in range(400)
            ]
            service._batch([Received("puji/p1/observation", payloads[place], 2, 1), *padded])
    assert refusal.value.reason == "files.full"
    assert len(done) == 1
    one.store.close()


def test_the_command_plays_virtual_patients_and_ends_on_ctrl_c(tmp_path):
    words = [
        "stream",
        "--simulate",
        "3",
        "--speed",
        "3000",
        "--faults",
        "0.3",
        "--view",
        "lines",
        "--state",
        str(tmp_path),
    ]
    code = f"import sys; from puji.cli import main; sys.exit(main({words!r}))"
    running_one = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    database = tmp_path / "stream.sqlite-wal"
    until(lambda: database.exists() and database.stat().st_size > 1_000_000, 240)
    running_one.send_signal(signal.SIGINT)
    out, err = running_one.communicate(timeout=60)
    assert running_one.returncode == 0, err
    assert "Readings taken:" in err
    assert "Traceback" not in out + err
    # Where no model for plans is released, that is said once.
    assert err.count("plans-diabetes") == (0 if "plans-diabetes" in puji.shipped() else 1)
    store = Store(tmp_path)
    assert sum(n for (_, what), n in store.tallies().items() if what == ACCEPTED) >= 9
    assert store.newest() > clock.system()
    store.close()
