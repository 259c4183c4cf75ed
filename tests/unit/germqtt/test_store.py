# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store: it loses no event, and events that are lost elsewhere have a gap message."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import sqlite3
import tempfile

import pytest
from germqtt import config, store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

NOW = 1_800_000_000.0


def line(number: int, made: float | None = None, size: int = 0) -> bytes:
    event = {"type": "x", "number": number, "text": "x" * size}
    if made is not None:
        event["eventCreatedOn"] = int(made)
    return json.dumps(event).encode()


def told(kept: store.Store) -> list[dict]:
    """All waiting messages, parsed."""
    kept.rewind()
    return [json.loads(row.line) for row in take_all(kept)]


def take_all(kept: store.Store) -> list[store.Row]:
    rows = []
    while more := kept.take(7):
        rows += more
    return rows


def gaps(kept: store.Store) -> list[tuple[int, int, str, int | None]]:
    return [(row["from"], row["to"], row["reason"], row["events"]) for row in told(kept) if row["type"] == "gap"]


def numbers(kept: store.Store) -> list[int | str]:
    """The order of the waiting messages, with "gap" for a gap message."""
    return [row.get("number", "gap") for row in told(kept)]


@pytest.fixture
def options(tmp_path):
    return config.Store(path=tmp_path / "events.sqlite")


@pytest.fixture
def killed(tmp_path):
    """Open a copy of the files as they are now, as the next germqtt would after a kill."""
    copies = []

    def copy(options: config.Store) -> store.Store:
        folder = tmp_path / f"copy{len(copies)}"
        folder.mkdir()
        for path in options.path.parent.glob("events.sqlite*"):
            shutil.copy(path, folder)
        copies.append(store.Store(dataclasses.replace(options, path=folder / "events.sqlite")))
        return copies[-1]

    yield copy
    for kept in copies:
        kept.close()


@pytest.fixture
def kept(options):
    """A store whose stream has begun."""
    opened = store.Store(options)
    opened.close_gap(NOW, "at first")
    yield opened
    opened.close()


# ---- order and acknowledgements --------------------------------------------------------------------------------------


def test_lines_are_sent_in_order_and_kept_until_acknowledged(kept):
    kept.add([line(1), line(2)], NOW)
    kept.add([line(3)], NOW)
    first, second = kept.take(2)
    [third] = kept.take(2)
    assert [json.loads(row.line)["number"] for row in (first, second, third)] == [1, 2, 3]
    assert kept.take(2) == []
    kept.acknowledge([second.id])
    assert (kept.waiting, kept.count("acknowledged")) == (2, 1)
    kept.rewind()
    assert kept.take(9) == [first, third]


def test_a_line_is_stored_unchanged(kept):
    lines = [b"", b"\xff\x00\xfe", "日\u0085".encode(), b"x" * 100_000]
    kept.add(lines, NOW)
    assert [row.line for row in kept.take(9)] == lines


def test_the_size_of_a_batch_is_limited(kept):
    """Long lines do not fill the memory."""
    kept.add([b"x" * store.TAKEN_BYTES] * 3 + [b"y"] * 3, NOW)
    assert [len(rows) for rows in iter(lambda: kept.take(100), [])] == [1, 1, 1, 3]
    kept.rewind()
    assert len(kept.take(1)) == 1


def test_a_restart_resumes_at_the_same_event(options, kept):
    kept.add([line(number) for number in range(5)], NOW)
    kept.acknowledge([kept.take(1)[0].id])
    kept.put_away(kept.take(1)[0], "unusable")
    client_id = kept.client_id()
    kept.close()
    again = store.Store(options)
    assert numbers(again) == [2, 3, 4]
    assert (again.waiting, again.last_event, again.client_id()) == (3, NOW, client_id)
    counts = {"stored": 5, "acknowledged": 1, "repeated": 0, "dropped": 0, "unusable": 1, "refused": 0, "gaps": 0}
    assert {name: again.count(name) for name in store.COUNTERS} == counts
    again.close()


def test_a_kill_loses_no_stored_event(options, kept, killed):
    kept.add([line(1), line(2)], NOW)
    kept.acknowledge([kept.take(1)[0].id])
    kept.add([line(3)], NOW)
    again = killed(options)
    assert numbers(again) == [2, 3]
    assert again.waiting == kept.waiting == 2


def test_numbers_are_never_reused(options, kept):
    """Otherwise a late acknowledgement would remove another line."""
    kept.add([line(1)], NOW)
    [row] = kept.take(1)
    kept.acknowledge([row.id])
    kept.close()
    again = store.Store(options)
    again.add([line(2)], NOW)
    assert again.take(1)[0].id > row.id
    again.close()


def test_client_ids_are_kept_and_cannot_be_guessed(kept, tmp_path):
    assert kept.client_id() == kept.client_id()
    other = store.Store(config.Store(path=tmp_path / "other.sqlite"))
    assert other.client_id() != kept.client_id()
    assert len(kept.client_id()) == len("germqtt-") + 32
    other.close()


def test_unusable_and_rejected_events_are_counted(kept):
    kept.add([line(1), line(2, NOW - 100)], NOW)
    kept.put_away(kept.take(1)[0], "unusable")
    assert (kept.count("unusable"), kept.waiting) == (1, 1)
    kept.put_away(kept.take(1)[0], "refused")
    assert gaps(kept) == [(NOW - 100, NOW + 1, "the broker does not take it", 1)]
    assert (kept.count("refused"), kept.count("gaps"), kept.waiting, kept.count("acknowledged")) == (1, 1, 1, 0)


def test_a_gap_message_that_the_broker_rejects_is_kept(kept):
    kept.open_gap()
    kept.close_gap(NOW + 1000, "why")
    [row] = kept.take(1)
    kept.put_away(row, "refused")
    assert [gap[:2] for gap in gaps(kept)] == [(NOW, NOW + 1001)]
    assert kept.count("refused") == 0


# ---- events that the broker may lose ---------------------------------------------------------------------------------


def published(kept: store.Store, *numbers: int, keep: int = 10) -> None:
    """Events that the broker has acknowledged."""
    kept.keep = keep
    kept.add([line(number) for number in numbers], NOW)
    kept.acknowledge(row.id for row in take_all(kept))


@pytest.mark.parametrize("restart", [True, False])
def test_events_that_the_broker_lost_are_queued_before_newer_events(options, kept, killed, restart):
    published(kept, 1, 2, 3)
    remembered = kept.number
    published(kept, 4, 5)
    kept.add([line(6)], NOW)
    assert (kept.waiting, kept.count("acknowledged"), numbers(kept)) == (1, 5, [6])
    again = killed(options) if restart else kept
    assert again.resume(remembered) == 2
    assert (again.waiting, again.count("acknowledged"), again.count("repeated")) == (3, 3, 2)
    assert numbers(again) == [4, 5, 6]
    again.acknowledge(row.id for row in (again.rewind(), take_all(again))[1])
    assert (again.waiting, again.count("acknowledged")) == (0, 6)


def test_events_that_the_broker_has_are_not_repeated(kept):
    published(kept, 1, 2, 3)
    assert kept.resume(kept.number) == 0
    assert kept.resume(kept.number - 1) == 1
    assert numbers(kept) == [3]


def test_the_last_acknowledged_events_are_kept(kept):
    for number in range(100):
        published(kept, number, keep=7)
    assert kept._db.execute("SELECT count(*) FROM waiting").fetchone() == (7,)
    assert kept.resume(None) == 7
    assert numbers(kept) == [*range(93, 100), "gap"]


def test_a_lost_store_of_the_broker_causes_one_gap(kept, monkeypatch):
    """From the oldest time for which the broker holds messages to the first repeated event. There is no gap if all events are repeated."""
    monkeypatch.setattr(store.time, "time", lambda: NOW + 1000)
    published(kept, 1, 2, keep=2)
    kept.resume(None)
    assert gaps(kept) == []
    kept.acknowledge(row.id for row in (kept.rewind(), take_all(kept))[1])
    published(kept, 3, keep=2)
    kept.resume(None)
    [gap] = gaps(kept)
    assert gap[:2] == (NOW + 1000 - store.FORGOTTEN_AFTER, NOW + 1)
    kept.acknowledge(row.id for row in (kept.rewind(), take_all(kept))[1])
    kept.resume(kept.number)
    assert kept.count("gaps") == 1


@pytest.mark.parametrize(("found", "told"), [(5, []), (2, []), (1, ["the broker has lost what it stored last"])])
def test_losses_that_exceed_the_kept_events_cause_a_gap(kept, found, told):
    """The broker has gone back to an earlier save, and part of its later events is not kept here."""
    published(kept, 1, 2, 3, 4, 5, keep=3)
    assert kept.resume(found) == min(5 - found, 3)
    assert [reason.partition(",")[0] for _start, _end, reason, _events in gaps(kept)] == told


def test_acknowledged_events_are_removed_if_none_are_kept(kept):
    published(kept, 1, 2, keep=5)
    published(kept, 3, keep=0)
    assert kept._db.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
    assert kept.resume(None) == 0
    assert numbers(kept) == ["gap"]


def test_kept_events_use_at_most_half_of_the_store(options):
    kept = small(options)
    for number in range(20):
        kept.keep = 1000
        kept.add([line(number, size=100_000)], NOW)
        kept.acknowledge(row.id for row in take_all(kept))
    assert kept.resume(None) == 5
    kept.close()


def test_an_expired_session_is_not_a_loss(kept, monkeypatch):
    published(kept, 1, 2)
    later = store.time.time() + store.FORGOTTEN_AFTER + 1
    monkeypatch.setattr(store.time, "time", lambda: later)
    assert kept.resume(None) == 0
    assert kept.resume(1) == 1


def test_numbers_continue_after_the_last_one_at_the_broker(kept):
    """Even if the store has removed them: a marker must never be older than the events that it confirms."""
    kept.resume(50)
    published(kept, 1)
    assert kept.number == 51


def test_a_gap_that_replaces_an_event_has_its_own_number(kept):
    kept.keep = 10
    kept.add([line(1), line(2)], NOW)
    first, second = kept.take(2)
    remembered = kept.number
    gap = kept.put_away(first, "refused")
    kept.acknowledge([gap.id, second.id])
    assert kept.resume(remembered) == 1
    assert numbers(kept) == ["gap"]


def test_kept_events_are_not_dropped_with_waiting_events(options, killed):
    kept = small(options)
    published(kept, 1, 2)
    killed(dataclasses.replace(options, max_days=1.0)).tick(NOW + 86_401)
    kept.add([line(3)], NOW)
    again = killed(dataclasses.replace(options, max_days=1.0))
    again.tick(NOW + 86_401)
    assert again.count("dropped") == 1
    assert again.resume(None) == 2
    assert numbers(again) == [1, 2, "gap"]
    kept.close()


# ---- gaps ------------------------------------------------------------------------------------------------------------


def test_there_is_no_gap_before_the_first_stream(options):
    kept = store.Store(options)
    assert kept.gap_is_open
    kept.add([line(1, NOW)], NOW)  # within moments after the login
    kept.close_gap(NOW + 2, "germqtt was not running")
    assert not kept.gap_is_open
    assert numbers(kept) == [1]
    kept.close()


@pytest.mark.parametrize("restart", [True, False])
def test_a_first_stream_that_breaks_at_once_is_followed_by_a_gap(options, restart):
    kept = store.Store(options)
    kept.add([line(1, NOW)], NOW)
    kept.add([line(2, NOW + 1)], NOW + 1)
    if restart:
        kept.close()
        kept = store.Store(options)
    else:
        kept.open_gap()
    kept.close_gap(NOW + 9, "why")
    assert gaps(kept) == [(NOW, NOW + 10, "why", None)]
    kept.close()


@pytest.mark.parametrize(
    ("made", "start"),
    [(NOW + 60, NOW + 60), (None, NOW + 70), (NOW + 9999, NOW + 70)],  # Gerrit's clock, unless it is ahead
)
def test_a_gap_starts_with_the_last_line(kept, made, start):
    kept.add([line(1, NOW + 50), line(2, made)], NOW + 70)
    kept.open_gap()
    kept.close_gap(NOW + 100.5, "why")
    assert gaps(kept) == [(start, NOW + 101, "why", None)]
    assert kept.count("gaps") == 1
    kept.add([line(3)], NOW + 102)
    assert numbers(kept) == [1, 2, "gap", 3]


def test_a_gap_starts_where_the_last_one_ended_if_nothing_came(kept):
    for end in (10, 20):
        kept.open_gap()
        kept.close_gap(NOW + end, "why")
    assert [gap[:2] for gap in gaps(kept)] == [(NOW, NOW + 11), (NOW + 10, NOW + 21)]


def test_events_during_an_open_gap_do_not_shorten_it(kept):
    kept.add([line(1, NOW + 5)], NOW + 5)
    kept.open_gap()
    kept.add([line(2, NOW + 50)], NOW + 50)
    kept.close_gap(NOW + 52, "why")
    assert gaps(kept) == [(NOW + 5, NOW + 53, "why", None)]


@pytest.mark.parametrize("login", [True, False])
def test_a_kill_loses_no_gap(options, kept, killed, login):
    """Neither while the stream is connected, nor between a login and the gap message."""
    kept.add([line(1, NOW + 5)], NOW + 5)
    if login:
        kept.open_gap()
        kept.add([line(2, NOW + 50)], NOW + 50)
    again = killed(options)
    assert again.gap_is_open
    again.close_gap(NOW + 99, "why")
    assert gaps(again) == [(NOW + 5, NOW + 100, "why", None)]


# ---- limits ----------------------------------------------------------------------------------------------------------


def small(options: config.Store, **changed) -> store.Store:
    kept = store.Store(dataclasses.replace(options, max_mib=1, max_days=1.0, **changed))
    kept.close_gap(NOW, "at first")
    return kept


def test_the_oldest_are_dropped_if_there_are_too_many(options):
    kept = small(options)
    kept.add([line(number, NOW + number, 10_000) for number in range(104)], NOW + 104)
    kept.tick(NOW + 104)
    assert kept.count("dropped") == 0
    kept.add([line(number, NOW + number, 10_000) for number in range(104, 108)], NOW + 108)
    kept.tick(NOW + 108)
    dropped = kept.count("dropped")
    assert 5 < dropped < 12  # down to 95 %
    assert numbers(kept) == ["gap", *range(dropped, 108)]
    assert gaps(kept) == [(NOW, NOW + 105, "too much had waited", dropped)]
    assert kept.waiting == 108 - dropped + 1
    kept.tick(NOW + 109)
    assert kept.count("dropped") == dropped
    kept.close()


def test_the_oldest_are_dropped_if_they_are_too_old(options):
    kept = small(options)
    kept.add([line(1, NOW - 5), line(2, NOW)], NOW)
    kept.add([line(3, NOW + 80_000)], NOW + 80_000)
    kept.tick(NOW + 86_400)
    assert kept.count("dropped") == 0
    kept.tick(NOW + 86_401)
    assert numbers(kept) == ["gap", 3]
    assert gaps(kept) == [(NOW - 5, NOW + 1, "too much had waited", 2)]
    kept.close()


def test_one_gap_covers_many_events_that_are_too_old(options):
    """A long outage of the broker does not cause a gap message for each dropped event."""
    kept = small(options)
    seconds = range(0, 100_000, 100)
    for second in seconds:
        kept.add([line(second, NOW + second)], NOW + second)
        kept.tick(NOW + second)
    assert kept.count("dropped") > 100
    assert kept.count("gaps") < 6
    found = gaps(kept)
    lost = sorted(set(seconds) - set(numbers(kept)))
    assert len(lost) == kept.count("dropped") == sum(gap[3] for gap in found)
    assert all(any(gap[0] <= NOW + second <= gap[1] for gap in found) for second in lost)
    kept.close()


def test_a_gap_covers_dropped_events_by_both_clocks(options):
    kept = small(options)
    kept.add([line(1, NOW + 500), line(2, NOW - 500)], NOW)
    kept.tick(NOW + 86_401)
    assert gaps(kept) == [(NOW - 500, NOW + 501, "too much had waited", 2)]
    kept.close()


def test_events_in_flight_are_not_dropped(options):
    kept = small(options)
    kept.add([line(number) for number in range(5)], NOW)
    rows = kept.take(2)
    kept.tick(NOW + 86_401)
    assert kept.count("dropped") == 3
    kept.acknowledge(row.id for row in rows)
    assert numbers(kept) == ["gap"]
    assert kept.count("acknowledged") == 2
    kept.close()


def test_gaps_are_not_dropped_with_the_events_around_them(options):
    kept = small(options)
    kept.add([line(1, NOW + 1)], NOW + 1)
    kept.open_gap()
    kept.close_gap(NOW + 10, "why")
    kept.add([line(2, NOW + 11)], NOW + 11)
    kept.tick(NOW + 90_000)
    expected = [(NOW + 1, NOW + 11, "why", None), (NOW + 1, NOW + 12, "too much had waited", 2)]
    assert gaps(kept) == expected
    kept.close()


def test_the_file_shrinks_once_nothing_waits(options):
    kept = store.Store(options)
    kept.add([b"x" * 100_000] * 400, NOW)
    kept.acknowledge([row.id for row in take_all(kept)])
    for _second in range(10):
        kept.tick(NOW)
    kept.close()
    assert options.path.stat().st_size < 20_000_000


# ---- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def full(kept):
    """Allow no more pages, or allow them again. The -wal file has room too, so it is emptied."""

    def set_full(is_full: bool) -> None:
        kept._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        pages = kept._db.execute("PRAGMA page_count").fetchone()[0] if is_full else 2**30
        kept._db.execute(f"PRAGMA max_page_count={pages}").fetchall()

    return set_full


def test_a_full_disk_changes_nothing_and_is_temporary(kept, full):
    kept.add([line(1)], NOW)
    kept.open_gap()
    full(True)
    before = numbers(kept), kept.waiting, kept._bytes, dict(kept._kept), kept.gap_is_open
    for write in (
        lambda: kept.add([line(2, size=100_000)] * 9, NOW),
        lambda: kept.close_gap(NOW + 9, "x" * 100_000),
        lambda: kept.lost_everything(NOW, "x" * 100_000),
    ):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            write()
        assert (numbers(kept), kept.waiting, kept._bytes, dict(kept._kept), kept.gap_is_open) == before
    full(False)
    kept.close_gap(NOW + 9, "why")
    kept.add([line(2)], NOW)
    assert numbers(kept) == [1, "gap", 2]
    assert kept.waiting == 3


@pytest.fixture
def unwritable(kept, monkeypatch):
    """Let transactions fail while it is on."""

    class Database:
        on = False

        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def execute(self, statement: str, *arguments):
            if self.on and statement.startswith("BEGIN"):
                raise sqlite3.OperationalError("database or disk is full")
            return self._db.execute(statement, *arguments)

        def __getattr__(self, name: str):
            return getattr(self._db, name)

    kept._db = Database(kept._db)
    return kept._db


def test_acknowledged_events_that_cannot_be_removed_are_not_resent(kept, unwritable):
    kept.add([line(number) for number in range(20)], NOW)
    rows = kept.take(10)
    unwritable.on = True
    with pytest.raises(sqlite3.OperationalError):
        kept.acknowledge(row.id for row in rows)
    kept.rewind()
    assert [json.loads(row.line)["number"] for row in kept.take(3)] == [10, 11, 12]
    unwritable.on = False
    kept.tick(NOW)
    assert (kept.waiting, kept.count("acknowledged")) == (10, 10)
    assert numbers(kept) == list(range(10, 20))


def test_acknowledged_events_on_a_full_disk_are_resent_if_lost(kept, unwritable):
    kept.add([line(number) for number in range(20)], NOW)
    rows = kept.take(10)
    unwritable.on = True
    with pytest.raises(sqlite3.OperationalError):
        kept.acknowledge(row.id for row in rows)
    kept.resume(kept.number - 3)
    unwritable.on = False
    kept.tick(NOW)
    assert numbers(kept) == list(range(7, 20))


def test_a_client_id_is_available_on_a_full_disk(kept, unwritable):
    unwritable.on = True
    assert kept.client_id().startswith("germqtt-")
    unwritable.on = False
    assert kept.client_id() == kept.client_id()


# ---- a damaged store -------------------------------------------------------------------------------------------------


def asides(options: config.Store) -> list[pathlib.Path]:
    found = options.path.parent.glob("events.sqlite.corrupt-*")
    return sorted(path for path in found if not path.name.endswith("-wal"))


def spoil(options: config.Store, how: str) -> bytes:
    data = bytearray(options.path.read_bytes())
    if how == "no database":
        data[:] = b"nonsense" * 1000
    elif how == "cut off":
        del data[len(data) // 2 :]
    else:
        data[4096:] = b"\xff" * (len(data) - 4096)
    options.path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("how", ["no database", "cut off", "pages"])
def test_a_damaged_store_is_set_aside_and_causes_a_gap(options, kept, killed, how, caplog):
    kept.add([line(number, size=1000) for number in range(50)], NOW)
    kept.close()
    data = spoil(options, how)
    again = store.open_store(options, "germqtt.conf")
    [aside] = asides(options)
    assert aside.read_bytes() == data
    assert f"the store {options.path} cannot be read" in caplog.text
    [(start, end, reason, number)] = gaps(again)
    assert end - start >= 7 * store.DAY
    assert (reason, number) == ("the store could not be read", None)
    assert again.gap_is_open
    again.add([line(1)], NOW)
    assert numbers(killed(options)) == ["gap", 1]
    again.close()


def test_a_damaged_store_causes_a_gap_even_if_germqtt_is_killed(options, kept, monkeypatch):
    kept.close()
    spoil(options, "no database")

    def no_room(_options) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    real = store.Store.lost_everything
    monkeypatch.setattr(store.Store, "lost_everything", lambda *_args: no_room(None))
    with pytest.raises(sqlite3.OperationalError):
        store.open_store(options, "germqtt.conf")
    monkeypatch.setattr(store.Store, "lost_everything", real)
    again = store.open_store(options, "germqtt.conf")
    assert [gap[2] for gap in gaps(again)] == ["the store could not be read"]
    again.close()
    again = store.open_store(options, "germqtt.conf")
    assert len(gaps(again)) == 1
    assert len(asides(options)) == 1
    again.close()


def test_damaged_stores_do_not_overwrite_each_other(options, monkeypatch):
    monkeypatch.setattr(store.time, "strftime", lambda *_args: "then")
    for content in (b"one" * 1000, b"two" * 1000):
        options.path.write_bytes(content)
        store.open_store(options, "germqtt.conf").close()
    assert sorted(path.read_bytes()[:3] for path in asides(options)) == [b"one", b"two"]


@pytest.mark.parametrize("path", ["none/events.sqlite", "file/events.sqlite", "."])
def test_an_invalid_store_path_is_a_configuration_error(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(config.ConfigError) as caught:
        store.open_store(config.Store(path=tmp_path / path), "germqtt.conf")
    assert str(caught.value).startswith(f"germqtt.conf: [store] path: {tmp_path / path}: unable to open")


def test_a_locked_store_is_not_changed(options, kept, monkeypatch):
    """For example while another germqtt is shutting down. This is temporary."""
    kept.add([line(1)], NOW)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: connect(*args, **given, timeout=0))
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.open_store(options, "germqtt.conf")
    assert asides(options) == []
    assert numbers(kept) == [1]


# ---- against a model -------------------------------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """The store behaves like a list."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.options = config.Store(path=pathlib.Path(self.folder.name) / "events.sqlite")
        self.kept = store.Store(self.options)
        self.number = 0
        # The waiting events, in the order of arrival.
        self.came = 0
        self.waiting: list[tuple[int, bytes]] = []
        self.with_broker: list[store.Row] = []
        self.stored = self.acknowledged = self.gaps = 0
        # Acknowledged rows with their publish numbers.
        self.kept.keep = 5
        self.published: list[tuple[tuple[int, bytes], int]] = []
        self.numbers: dict[int, int] = {}
        self.heard = False
        self.told = False

    def wait(self, *lines: bytes) -> None:
        for one in lines:
            self.came += 1
            self.waiting.append((self.came, one))

    @rule(count=st.integers(0, 3))
    def add(self, count):
        lines = [line(self.number + one) for one in range(count)]
        self.number += count
        if lines:
            self.kept.add(lines, NOW + self.number)
            self.wait(*lines)
            self.stored += count
            self.heard = True

    @rule()
    def open_gap(self):
        self.kept.open_gap()
        self.told = self.heard

    @precondition(lambda self: self.kept.gap_is_open)
    @rule()
    def close_gap(self):
        self.number += 1
        before = self.kept.waiting
        self.kept.close_gap(NOW + self.number, "why")
        if self.told:
            assert self.kept.waiting == before + 1
            self.gaps += 1
            self.wait(b"gap")
        self.heard = self.told = True

    @rule(most=st.integers(1, 4))
    def take(self, most):
        rows = self.kept.take(most)
        there = [row.line if not row.gap else b"gap" for row in rows]
        begin = len(self.with_broker)
        assert there == self.unsent()[:most]
        self.with_broker += rows
        self.numbers.update({row.id: self.kept.number - len(rows) + index + 1 for index, row in enumerate(rows)})
        assert len(self.with_broker) == begin + len(there)

    def unsent(self) -> list[bytes]:
        return [one for _order, one in self.waiting[len(self.with_broker) :]]

    @rule(data=st.data())
    def acknowledge(self, data):
        if self.with_broker:
            some = data.draw(st.lists(st.sampled_from(range(len(self.with_broker))), unique=True))
            self.kept.acknowledge([self.with_broker[index].id for index in some])
            self.acknowledged += sum(not self.with_broker[index].gap for index in some)
            self.published += [(self.waiting[index], self.numbers[self.with_broker[index].id]) for index in some]
            self.published = self.published[-self.kept.keep :]
            for index in sorted(some, reverse=True):
                del self.with_broker[index], self.waiting[index]

    @rule(back=st.integers(0, 8))
    def resume(self, back):
        """The broker remembers all but the last events."""
        self.rewind()
        found = max(self.kept.number - back, 0)
        again = [one for one in self.published if one[1] > found]
        assert self.kept.resume(found) == len(again)
        self.published = [one for one in self.published if one[1] <= found]
        self.waiting = sorted(self.waiting + [one[0] for one in again])
        self.acknowledged -= sum(one[0][1] != b"gap" for one in again)

    @rule()
    def rewind(self):
        self.kept.rewind()
        self.with_broker = []

    @rule()
    def tick(self):
        self.kept.tick(NOW + self.number)

    @rule()
    def reopen(self):
        self.kept.close()
        self.kept = store.Store(self.options)
        self.kept.keep = 5
        self.with_broker = []
        self.told = self.heard

    @invariant()
    def counts(self):
        assert self.kept.waiting == len(self.waiting)
        found = [self.kept.count(name) for name in ("stored", "acknowledged", "gaps", "dropped")]
        assert found == [self.stored, self.acknowledged, self.gaps, 0]

    def teardown(self):
        if hasattr(self, "kept"):
            self.kept.rewind()
            assert [row.line if not row.gap else b"gap" for row in take_all(self.kept)] == [
                one for _number, one in self.waiting
            ]
            self.kept.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)
