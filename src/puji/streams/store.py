"""What survives a kill: the windows, what was counted, open alerts and messages not yet delivered, in one SQLite file.

Everything that a batch of messages changes is one transaction, and messages are acknowledged to the broker after it. A
program that is killed in between is sent them again, and finds their readings in its windows. What goes out is written in the
same transaction and deleted when the broker has it: it is sent again rather than lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from puji.errors import Invalid
from puji.files import refusal
from puji.streams.observation import Reading

NAME = "stream.sqlite"
FORMAT = 1
_TABLES = """
create table reading (patient text, vital text, time integer, value real, id text not null,
    primary key (patient, vital, time)) without rowid;
create table tally (patient text, what text, n integer not null, primary key (patient, what)) without rowid;
create table alert (patient text, name text, id text not null, since integer not null, primary key (patient, name)) without rowid;
create table outbox (seq integer primary key autoincrement, name text unique not null, topic text not null,
    payload blob not null);
"""


class Outgoing(NamedTuple):
    """A message that waits for the broker. ``name``: a later one of the same name takes its place."""

    name: str
    topic: str
    payload: bytes


class Alert(NamedTuple):
    """An alert that is on. ``since``: milliseconds since 1970."""

    patient: str
    name: str
    id: str
    since: int


class Store:
    """The file in ``folder``, which is made; held by one process at a time.

    Raises Invalid if the folder cannot be written, another process holds it, or the file is damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Patients' readings: nobody else's to read.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise refusal(error, self.path) from error
        with self._told():
            self._db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma locking_mode = exclusive")
            self._db.execute("pragma journal_mode = wal")
            # Also after a power cut, what was acknowledged is there.
            self._db.execute("pragma synchronous = full")
            with self.batch():
                self._prepare()

    def _prepare(self) -> None:
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            self._db.execute(f"pragma user_version = {FORMAT}")
        elif version != FORMAT:
            raise Invalid("streams.store.format", source=str(self.path))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            reason = "streams.store.damaged"
            if "locked" in text:
                reason = "streams.store.in_use"
            elif "full" in text or "disk I/O" in text:
                reason = "files.full"
            elif "readonly" in text or "unable to open" in text:
                reason = "files.unwritable"
            raise Invalid(reason, source=str(self.path)) from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All that is written inside is written, or nothing."""
        with self._told():
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # where the disk is full, SQLite has done it already
                    self._db.execute("rollback")
                raise
            self._db.execute("commit")

    # -- writing, inside a batch -------------------------------------------------------------------------------------

    def write(self, reading: Reading) -> None:
        """Keep ``reading``, in place of what stood at its time."""
        row = (reading.patient, reading.vital, reading.time, reading.value, reading.id)
        self._db.execute("insert or replace into reading values (?, ?, ?, ?, ?)", row)

    def drop(self, patient: str, vital: str, time: int) -> None:
        """Forget a reading."""
        self._db.execute("delete from reading where patient = ? and vital = ? and time = ?", (patient, vital, time))

    def count(self, patient: str, what: str, n: int) -> None:
        """Count ``what`` ("accepted", or a reason) ``n`` times more for ``patient``."""
        text = "insert into tally values (?, ?, ?) on conflict do update set n = n + excluded.n"
        self._db.execute(text, (patient, what, n))

    def open_alert(self, alert: Alert) -> None:
        """Keep that ``alert`` is on."""
        self._db.execute("insert or replace into alert values (?, ?, ?, ?)", alert)

    def close_alert(self, patient: str, name: str) -> None:
        """Keep that an alert is over."""
        self._db.execute("delete from alert where patient = ? and name = ?", (patient, name))

    def send(self, message: Outgoing) -> None:
        """Keep ``message`` until `sent`."""
        self._db.execute("insert or replace into outbox (name, topic, payload) values (?, ?, ?)", message)

    def sent(self, seq: int) -> None:
        """The broker has the message ``seq``; one that has taken its place stays."""
        self._db.execute("delete from outbox where seq = ?", (seq,))

    # -- reading -----------------------------------------------------------------------------------------------------

    def readings(self) -> Iterator[Reading]:
        """All that is kept, in the order of patients, vitals and times."""
        with self._told():
            for row in self._db.execute("select patient, vital, time, value, id from reading order by 1, 2, 3"):
                yield Reading(*row)

    def newest(self) -> int:
        """The latest time of a reading that is kept, milliseconds since 1970; 0: there is none."""
        with self._told():
            (time,) = self._db.execute("select max(time) from reading").fetchone()
        return int(time or 0)

    def tallies(self) -> dict[tuple[str, str], int]:
        """(patient, what) -> how often."""
        with self._told():
            return {(patient, what): n for patient, what, n in self._db.execute("select * from tally")}

    def alerts(self) -> list[Alert]:
        """The alerts that are on."""
        with self._told():
            return [Alert(*row) for row in self._db.execute("select patient, name, id, since from alert")]

    def outbox(self, after: int, most: int) -> list[tuple[int, Outgoing]]:
        """Up to ``most`` messages that wait, in order, those behind ``after``."""
        text = "select seq, name, topic, payload from outbox where seq > ? order by seq limit ?"
        with self._told():
            return [(seq, Outgoing(*rest)) for seq, *rest in self._db.execute(text, (after, most))]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


__all__ = ["NAME", "Alert", "Outgoing", "Store"]
