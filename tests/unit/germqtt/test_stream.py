# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stream: the command line of ssh, and the handling of its output."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pathlib
import re
import shlex
import socket
import subprocess
import threading
import time

import pytest
from germqtt import backoff, config, status, store, stream
from hypothesis import example, given
from hypothesis import strategies as st

GERRIT = config.Gerrit(
    hostname="review.example.org",
    port=29418,
    username="germqtt",
    key=pathlib.Path("/key"),
    known_hosts=pathlib.Path("/hosts"),
)


def gerrit(**changed) -> config.Gerrit:
    return config.Gerrit(**{**vars(GERRIT), **changed})


# ---- lines -----------------------------------------------------------------------------------------------------------


def cut(data: bytes, where: list[int]) -> list[bytes]:
    """The data in pieces."""
    edges = [0, *sorted(position % (len(data) + 1) for position in where), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\r"))),
    rest=st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\0")),
    where=st.lists(st.integers(0, 1000)),
)
@example(lines=[b"x" * 30, b"y"], rest=b"", where=[8, 9, 10, 30, 31])
def test_lines_do_not_depend_on_the_chunks(lines, rest, where):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stream, "LONGEST_LINE", 8)
        split = stream.Lines()
        found = [
            line for chunk in cut(b"".join(line + b"\n" for line in lines) + rest, where) for line in split.split(chunk)
        ]
    assert found == [line[:8] for line in lines if line]


def test_a_line_without_an_end_does_not_fill_the_memory():
    split = stream.Lines()
    for _megabyte in range(20):
        assert split.split(b"x" * 2**20) == []
    assert len(split._rest) <= stream.LONGEST_LINE + 2**20
    assert [len(line) for line in split.split(b"x\ny\n")] == [stream.LONGEST_LINE, 1]


# ---- ssh -------------------------------------------------------------------------------------------------------------


def test_the_command_line_of_ssh():
    command = stream.command(GERRIT)
    assert command[-4:] == ["--", "review.example.org", "gerrit", "stream-events"]
    options = {option for flag, option in itertools.pairwise(command) if flag == "-o"}
    assert options >= {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        'UserKnownHostsFile="/hosts"',
        'IdentityFile="/key"',
        "IdentitiesOnly=yes",
        "HostKeyAlias=[review.example.org]:29418",
    }
    assert int(stream.KEEPALIVE) * 4 <= 60  # a dead connection is detected within a minute


def test_no_key_is_in_the_command(tmp_path):
    key = make_key(tmp_path / "key")
    secret = "".join(key.read_text().splitlines()[1:-1])
    command = " ".join(stream.command(gerrit(key=key)))
    assert not any(secret[begin : begin + 16] in command for begin in range(0, len(secret), 16))


@pytest.mark.parametrize("name", ["key", "a b", "50%h", "%", 'quo"te', "back\\slash", "comma,é", "~", "a#b", "'"])
def test_ssh_finds_files_of_any_name(tmp_path, name):
    """Checked in the debug output of ssh, which connects to a server that closes the connection."""
    folder = tmp_path / name
    folder.mkdir()
    key = make_key(folder / "key")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0]:
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        given = gerrit(hostname="127.0.0.1", port=listening.getsockname()[1], key=key, known_hosts=folder / "hosts")
        command = [*stream.command(given)[:1], "-v", "-o", "LogLevel=DEBUG1", *stream.command(given)[1:]]
        said = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stderr
        thread.join()
    types = re.findall(r"identity file .*/key type (-?\d+)", said)  # -1 if it found no key
    assert int(types[0]) >= 0
    shown = subprocess.run([*command[:1], "-G", *command[3:-2]], capture_output=True, text=True, check=True).stdout
    [hosts] = [line.partition(" ")[2] for line in shown.splitlines() if line.startswith("userknownhostsfile ")]
    assert hosts.replace("%%", "%") == str(given.known_hosts)


def make_key(path: pathlib.Path) -> pathlib.Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def fine(tmp_path):
    """A Gerrit with an existing key and host key."""
    key = make_key(tmp_path / "key")
    hosts = tmp_path / "hosts"
    public = (tmp_path / "key.pub").read_text()
    hosts.write_text(f"other.example.org {public}[review.example.org]:29418 {public}", encoding="utf-8")
    return gerrit(key=key, known_hosts=hosts)


def test_a_valid_configuration(fine):
    stream.check(fine, "germqtt.conf")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(fine.known_hosts)], check=True, capture_output=True)
    stream.check(fine, "germqtt.conf")
    port_22 = fine.known_hosts.with_name("port22")
    port_22.write_text(f"[review.example.org]:22 {fine.key.with_name('key.pub').read_text()}", encoding="utf-8")
    stream.check(gerrit(port=22, key=fine.key, known_hosts=port_22), "germqtt.conf")


def passphrase(path: pathlib.Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "passphrase", "-f", str(path)], check=True)


@pytest.mark.parametrize(
    ("option", "spoil", "said"),
    [
        ("key", lambda path: path.unlink(), "No such file or directory"),
        ("key", lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        ("key", lambda path: path.write_text("garbage"), "ssh cannot use this key: "),
        ("key", lambda path: path.write_bytes(b"\xff\xfe\0" * 99), "ssh cannot use this key: "),
        ("key", lambda path: path.write_text(""), "ssh cannot use this key: "),
        ("key", lambda path: path.write_text(path.with_name("key.pub").read_text()), "ssh cannot use this key: "),
        ("key", lambda path: path.write_text(path.read_text()[:200]), "ssh cannot use this key: "),
        ("key", passphrase, "ssh cannot use this key: "),
        ("key", lambda path: path.chmod(0o644), "ssh cannot use this key: "),
        ("known_hosts", lambda path: path.unlink(), "No such file or directory"),
        ("known_hosts", lambda path: path.write_text(""), " has no key of [review.example.org]:29418"),
        ("known_hosts", lambda path: path.write_text("garbage\n"), " has no key of [review.example.org]:29418"),
        (
            "known_hosts",
            lambda path: path.write_text(path.read_text().replace("]:29418", "]:29419")),
            " has no key of [review.example.org]:29418",
        ),
    ],
)
def test_an_invalid_configuration(fine, option, spoil, said):
    path = getattr(fine, option)
    spoil(path)
    with pytest.raises(config.ConfigError) as caught:
        stream.check(fine, "germqtt.conf")
    found = str(caught.value)
    assert found.startswith(f"germqtt.conf: [gerrit] {option}: {path}")
    assert said in found
    assert "\n" not in found


def test_a_missing_ssh_is_a_configuration_error(fine, monkeypatch):
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(config.ConfigError, match="OpenSSH's client is not installed"):
        stream.check(fine, "germqtt.conf")


# ---- the stream ------------------------------------------------------------------------------------------------------

LOGIN = "echo; "


class Bench:
    """A stream whose ssh is a shell script."""

    def __init__(self, kept: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept, self._patched = kept, monkeypatch
        self.status = status.Status(kept)
        self.told: list[str] = []
        self.woken = 0
        self.scripts: list[str] = []
        monkeypatch.setattr(stream, "command", self._command)

    def _command(self, _gerrit: config.Gerrit) -> list[str]:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return ["sh", "-c", script]

    def _changed(self) -> None:
        self.woken += 1

    def run(self, *scripts: str, until=None, seconds: float = 5) -> None:
        """Run one script after the other, the last one repeatedly, until a condition is true, and then stop."""
        self.scripts = list(scripts)

        async def main() -> None:
            followed = stream.Stream(
                GERRIT, self.kept, self.status, self._changed, lambda: self.told.append(self.status.gerrit)
            )
            running = asyncio.create_task(followed.run())
            deadline = time.monotonic() + seconds
            while until and not until() and not running.done():
                assert time.monotonic() < deadline, (self.told, self.kept.waiting)
                await asyncio.sleep(0.01)
            followed.stop()
            began = time.monotonic()
            await asyncio.wait_for(running, 5)
            self.took = time.monotonic() - began

        asyncio.run(main())

    @property
    def waiting(self) -> list[str]:
        self.kept.rewind()
        return [
            f"gap: {json.loads(row.line)['reason']}" if row.gap else row.line.decode() for row in self.kept.take(999)
        ]


@pytest.fixture
def kept(tmp_path):
    opened = store.Store(config.Store(path=tmp_path / "events.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def bench(kept, monkeypatch):
    for name, value in {
        "BEGINS_WITHIN": 0.1,
        "FIRST_DELAY": 0.01,
        "LONGEST_DELAY": 0.05,
        "FULL_DISK_DELAY": 0.05,
    }.items():
        monkeypatch.setattr(stream, name, value)
    return Bench(kept, monkeypatch)


def test_lines_are_stored_as_they_arrive(bench, kept):
    bench.run(LOGIN + "echo one; echo two; sleep 0.3; echo three; exec sleep 9", until=lambda: kept.waiting == 3)
    assert bench.waiting == ["one", "two", "three"]
    assert bench.told[0] == status.CONNECTED
    assert bench.woken >= 2


def test_a_stream_that_ends_causes_a_reconnect_and_a_gap(bench, kept):
    bench.run(
        LOGIN + "echo one; sleep 0.2; echo two; echo away >&2; exit 255",
        LOGIN + "echo three; exec sleep 9",
        until=lambda: kept.count("gaps") == 1,
    )
    assert bench.waiting == ["one", "two", "three", "gap: the stream ended: away"]
    assert bench.told == [status.CONNECTED, "does not stream: away", status.CONNECTED]


def test_a_restart_makes_a_gap(bench, kept):
    kept.close_gap(time.time() - 100, "at first")
    kept.open_gap()
    bench.run(LOGIN + "exec sleep 9", until=lambda: kept.waiting)
    assert bench.waiting == ["gap: germqtt was not running"]


def test_events_that_gerrit_dropped_cause_a_gap(bench, kept):
    kept.add([b"one"], time.time())
    kept.open_gap()
    dropped = json.dumps({"type": "dropped-output"})
    script = f"{LOGIN} sleep 0.3; echo {shlex.quote(dropped)}; echo two; exec sleep 9"
    bench.run(script, until=lambda: kept.waiting > 4)
    told = ["gap: germqtt was not running", dropped, "two"]
    reason = "gap: Gerrit dropped events, since they were read too slowly"
    assert [one for one in bench.waiting if one != reason] == ["one", *told]
    assert bench.waiting.index(reason) > bench.waiting.index(dropped)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Permission denied (publickey).' >&2; exit 255", "refuses germqtt: Permission denied (publickey)."),
        ("echo 'Host key verification failed.' >&2; exit 255", "refuses germqtt: Host key verification failed."),
        (LOGIN + "echo 'fatal: not permitted' >&2; exit 1", "refuses germqtt: fatal: not permitted"),
        ("echo 'Connection refused' >&2; exit 255", "does not stream: Connection refused"),
        (LOGIN + "exit 255", "does not stream: ssh ended with 255"),
        (LOGIN + "exit 0", "does not stream: ssh ended with 0"),
        ("kill -9 $$", "does not stream: ssh ended with -9"),
        ("printf 'one\\ntwo\\n \\n' >&2; exit 255", "does not stream: two"),
        ("printf 'a\\033[31mb\\377\\r\\n' >&2; exit 255", "does not stream: a[31mb\N{REPLACEMENT CHARACTER}"),
        ("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 255", "does not stream: " + "x" * stream.SHOWN_PROBLEM),
    ],
)
def test_the_reason_of_a_failed_stream_is_reported(bench, script, said):
    bench.run(script, until=lambda: bench.told)
    assert bench.told[0] == said


def test_a_rejected_login_is_retried_with_the_longest_delay(bench, monkeypatch):
    lengthened = []
    monkeypatch.setattr(backoff.Backoff, "lengthen", lambda _self: lengthened.append(True))
    bench.run("exit 255", until=lambda: bench.told)
    assert not lengthened
    bench.run("echo 'Permission denied' >&2; exit 255", until=lambda: len(bench.told) > 2)
    assert lengthened


def test_a_login_has_a_time_limit(bench, monkeypatch):
    monkeypatch.setattr(stream, "LOGIN_TIMEOUT", 0.1)
    bench.run("exec sleep 99", until=lambda: bench.told)
    assert bench.told[0] == "does not stream: there was no login within 0.1 seconds"


def test_a_failed_start_of_ssh_is_retried(bench, kept, monkeypatch):
    start = asyncio.create_subprocess_exec
    failures = [OSError(12, "Cannot allocate memory"), FileNotFoundError(2, "No such file or directory")]

    async def exec_or_fail(*arguments, **given):
        if failures:
            raise failures.pop()
        return await start(*arguments, **given)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", exec_or_fail)
    bench.run(LOGIN + "echo one; exec sleep 9", until=lambda: kept.waiting)
    assert bench.told[0] == "does not stream: ssh cannot be started: No such file or directory"
    assert bench.waiting == ["one"]


@pytest.mark.parametrize(
    "script", ["exec sleep 99", LOGIN + "exec sleep 99", "exit 255", LOGIN + "while :; do echo x; sleep 0.001; done"]
)
@pytest.mark.parametrize("after", [0, 0.003, 0.01, 0.2])
def test_it_can_be_stopped_at_any_moment(bench, script, after):
    begin = time.monotonic()
    bench.run(script, until=(lambda: time.monotonic() > begin + after) if after else None)
    assert bench.took < 1


def test_it_can_be_stopped_while_ssh_is_started(bench, monkeypatch):
    start = asyncio.create_subprocess_exec
    starting = []

    async def slowly(*arguments, **given):
        starting.append(True)
        await asyncio.sleep(0.1)
        return await start(*arguments, **given)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    bench.run(LOGIN + "exec sleep 99", until=lambda: starting)
    assert bench.took < 1


def test_the_remaining_lines_of_a_stopped_stream_are_stored(bench, kept):
    bench.run(
        LOGIN + "trap 'echo last; exit 0' TERM; echo first; while :; do sleep 0.01; done", until=lambda: kept.waiting
    )
    assert bench.waiting == ["first", "last"]


def test_a_full_disk_loses_no_event(bench, kept, caplog, full_disk):
    kept.add([b"before"], time.time())
    begin = time.monotonic()
    with contextlib.ExitStack() as full:
        full.enter_context(full_disk(kept))

        def until() -> bool:
            if time.monotonic() > begin + 0.5:
                full.close()
            return kept.waiting > 50

        bench.run(LOGIN + "for one in $(seq 50); do echo $one; done; exec sleep 9", until=until)
    assert [one for one in bench.waiting if "gap" not in one] == ["before", *map(str, range(1, 51))]
    assert caplog.text.count("nothing is read for now") <= 2


def test_a_stop_on_a_full_disk_leaves_the_gap_open(bench, kept, full_disk):
    bench.run(LOGIN + "echo one; exec sleep 9", until=lambda: not kept.gap_is_open)
    heard = kept._kept["heard"]
    begin = time.monotonic()
    kept.close_gap(heard, "at first")
    with full_disk(kept):
        bench.run(LOGIN + "echo two; exec sleep 9", until=lambda: time.monotonic() > begin + 0.3)
    assert bench.took < 1
    assert kept.gap_is_open
    assert kept._kept["heard"] == heard


def test_a_crash_ends_ssh(bench, kept, monkeypatch, tmp_path):
    """Even while ssh still sends much data."""
    monkeypatch.setattr(kept, "add", lambda *_args: 1 / 0)
    pid = tmp_path / "pid"
    with pytest.raises(ZeroDivisionError):
        bench.run(LOGIN + f"echo $$ > {pid}; exec yes", until=lambda: False)
    assert not pathlib.Path(f"/proc/{pid.read_text().strip()}").exists()
