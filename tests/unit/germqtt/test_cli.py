# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command, and all its parts together."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import germqtt
import pytest
from germqtt import cli, config, publisher, service, store, stream

SECRET = "hunter2"


@pytest.fixture
def conf(tmp_path):
    """A configuration file with an existing key and host key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    public = (tmp_path / "key.pub").read_text(encoding="utf-8")
    (tmp_path / "hosts").write_text(f"[127.0.0.1]:9 {public}", encoding="utf-8")

    def write(port: int = 9, **changed: str) -> pathlib.Path:
        path = tmp_path / "germqtt.conf"
        options = {"ca_file": "", "tls": "no", "store": str(tmp_path / "events.sqlite")} | changed
        path.write_text(
            f"[gerrit]\nusername = a\nhostname = 127.0.0.1\nport = 9\nkey = {tmp_path}/key\nknown_hosts = {tmp_path}/hosts\n"
            f"[mqtt]\nhostname = 127.0.0.1\nport = {port}\ntopic = gerrit\nusername = a\npassword = {SECRET}\n"
            f"tls = {options['tls']}\n"
            + (f"ca_file = {options['ca_file']}\n" if options["ca_file"] else "")
            + "[store]\n"
            f"path = {options['store']}\n",
            encoding="utf-8",
        )
        return path

    return write


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["germqtt", *map(str, arguments)])
    return cli.main()


def test_version_is_printed(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"{germqtt.VERSION}\n"


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--none", "a"]])
def test_an_invalid_command_line_is_rejected(monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, *arguments)
    assert caught.value.code == os.EX_USAGE or caught.value.code == 2
    assert "usage: germqtt" in capsys.readouterr().err


def test_a_configuration_error_is_one_line_with_its_own_exit_code(monkeypatch, capsys, conf, tmp_path):
    (tmp_path / "ca").write_text("garbage", encoding="utf-8")
    for changed, said in [
        ({"tls": "perhaps"}, "[mqtt] tls: this has to be yes or no"),
        ({"tls": "yes", "ca_file": "/none"}, "[mqtt] ca_file: /none: No such file or directory"),
        ({"tls": "yes", "ca_file": str(tmp_path / "ca")}, f"[mqtt] ca_file: {tmp_path}/ca: "),
        ({"tls": "yes", "ca_file": str(tmp_path)}, f"[mqtt] ca_file: {tmp_path}: "),
        ({"store": "/none/events.sqlite"}, "[store] path: /none/events.sqlite: unable to open database file"),
    ]:
        path = conf(**changed)
        assert run(monkeypatch, "--foreground", path) == os.EX_CONFIG
        found = capsys.readouterr().err
        assert found.startswith(f"germqtt: {path}: {said}")
        assert found.count("\n") == 1
    assert run(monkeypatch, "-f", tmp_path / "none") == os.EX_CONFIG
    assert capsys.readouterr().err == f"germqtt: {tmp_path}/none: No such file or directory\n"


def test_a_configured_qos_other_than_1_is_logged(monkeypatch, conf, caplog):
    """germqtt logs it if the configuration asks for another quality of service."""
    monkeypatch.setattr(cli.asyncio, "run", lambda running: running.close())
    path = conf()
    for qos, said in [("0", True), ("1", False), ("2", True)]:
        caplog.clear()
        path.write_text(conf().read_text().replace("[mqtt]\n", f"[mqtt]\nqos = {qos}\n"), encoding="utf-8")
        assert run(monkeypatch, "--foreground", path) == 0
        assert (f"{path}: [mqtt] qos is {qos}: germqtt publishes at QoS 1" in caplog.text) == said


def test_a_locked_store_is_a_temporary_failure(monkeypatch, conf, tmp_path, caplog):
    path = conf()
    kept = store.Store(config.Store(path=tmp_path / "events.sqlite"))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: connect(*args, **given, timeout=0))
    assert run(monkeypatch, "--foreground", path) == os.EX_TEMPFAIL
    assert f"{path}: [store] path: {tmp_path}/events.sqlite: database is locked" in caplog.text
    kept.close()


def test_daemon_mode_requires_python_daemon(monkeypatch, capsys, conf):
    monkeypatch.setitem(sys.modules, "daemon.pidfile", None)
    assert run(monkeypatch, conf()) == os.EX_CONFIG
    assert "python3-daemon" in capsys.readouterr().err


def test_it_runs_as_a_module(conf, tmp_path):
    """The output has no password, and germqtt runs although neither side is reachable."""
    program = pathlib.Path(germqtt.__file__).parents[1]
    command = [sys.executable, "-m", "germqtt", "--foreground", str(conf())]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(program), *sys.path]),
        "HOME": "/none",
    }
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    told = {"broker 127.0.0.1:9 cannot be reached: ", "Gerrit 127.0.0.1:9 does not stream: "}
    said = ""
    deadline = threading.Timer(30, running.kill)
    deadline.start()
    assert running.stderr is not None
    while not all(part in said for part in told) and (line := running.stderr.readline()):
        said += line
    arguments = pathlib.Path(f"/proc/{running.pid}/cmdline").read_text(encoding="utf-8")
    running.terminate()
    said += running.communicate(timeout=10)[1]
    deadline.cancel()
    assert running.returncode == 0, said
    assert all(part in said for part in told), said
    assert "Traceback" not in said
    assert SECRET not in said + arguments


# ---- all together ----------------------------------------------------------------------------------------------------


@pytest.fixture
def streaming(monkeypatch):
    """Replace ssh by a shell script."""
    for module, name, value in [
        (stream, "BEGINS_WITHIN", 0.1),
        (stream, "FIRST_DELAY", 0.01),
        (publisher, "FIRST_DELAY", 0.01),
    ]:
        monkeypatch.setattr(module, name, value)
    return lambda script: monkeypatch.setattr(stream, "command", lambda _gerrit: ["sh", "-c", f"echo; {script}"])


def serve(kept, port: int) -> asyncio.Task:
    gerrit = config.Gerrit(hostname="gerrit", username="a", key=pathlib.Path("/key"))
    options = config.Config(
        default=config.Default(),
        gerrit=gerrit,
        mqtt=config.Mqtt(hostname="127.0.0.1", port=port, topic="gerrit"),
        store=config.Store(),
    )
    return asyncio.create_task(service.run(options, kept))


async def until(condition, running: asyncio.Task) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert not running.done(), running.result()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


needs_main_thread = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals come to the main thread"
)


@needs_main_thread
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_events_go_from_the_stream_to_the_broker_until_a_signal(
    kept, broker, streaming, stream_lines, tmp_path, number
):
    source = tmp_path / "events"
    source.write_bytes(b"".join(line + b"\n" for line in stream_lines))
    streaming(f"cat {source}; exec sleep 99")

    def events() -> list:
        # One line says that Gerrit has dropped events. germqtt reports that a second later, possibly after the test.
        return [event for event in broker.events() if event["type"] != "gap"]

    async def scenario():
        async with broker:
            running = serve(kept, broker.port)
            await until(lambda: len(events()) == len(stream_lines), running)
            os.kill(os.getpid(), number)
            await asyncio.wait_for(running, 5)
        assert events() == [json.loads(line) for line in stream_lines]
        assert broker.statuses()[-1]["state"] == "offline"

    asyncio.run(scenario())


@needs_main_thread
@pytest.mark.parametrize("part", ["add", "take", "tick"])
def test_an_unexpected_error_ends_all_parts(kept, broker, streaming, monkeypatch, part):
    """systemd then starts it again. This works also while the stream sends much data."""
    streaming("exec yes")
    monkeypatch.setattr(kept, part, lambda *_args: 1 / 0)

    async def scenario():
        async with broker:
            running = serve(kept, broker.port)
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(running, 10)
            assert isinstance(caught.value.exceptions[0], ZeroDivisionError)

    asyncio.run(scenario())


@pytest.fixture(autouse=True)
def quiet():
    """Undo the changes of basicConfig to the root logger."""
    before = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = before
