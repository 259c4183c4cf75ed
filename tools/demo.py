# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the demo up: a bare Debian host and a Gerrit stand-in in containers, the playbook, and proof that events arrive."""

import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import docker
import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

CHECKOUT = Path(__file__).resolve().parent.parent
SECRETS = CHECKOUT / ".demo"
FIXTURE = CHECKOUT / "tests/fixtures/gerrit-events.jsonl"
LABEL = "opendev-firehose.checkout"
FIREHOSE, GERRIT, NETWORK = "firehose-demo", "gerrit-demo", "firehose-demo"
ADDRESS = "127.0.0.1"
EVENTS_TO_SHOW = 3
SECONDS_TO_WAIT = 60

# What a container needs to boot systemd without being privileged, and to treat ports below 1024 as a host does.
LIKE_A_HOST = {
    "command": "/lib/systemd/systemd",
    "cap_add": ["SYS_ADMIN", "NET_ADMIN"],
    "security_opt": ["seccomp=unconfined"],
    "cgroupns": "host",
    "volumes": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
    "tmpfs": {"/run": "", "/run/lock": "", "/tmp": ""},
    "sysctls": {"net.ipv4.ip_unprivileged_port_start": "1024"},
    "stop_signal": "SIGRTMIN+3",
}


class DemoError(Exception):
    """What the user has to know, in one sentence."""


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def port_from(variable, default):
    value = os.environ.get(variable) or default
    if not str(value).isdecimal() or not 0 < int(value) < 65536:
        raise DemoError(f"{variable} must be a port number, not {value!r}")
    return int(value)


# ---- secrets --------------------------------------------------------------------------------------------------------


def secret(name, make):
    """The content of a file below .demo, made at the first call ever."""
    path = SECRETS / name
    if not path.exists():
        write_secret(name, make())
    return path.read_text(encoding="utf-8")


def write_secret(name, text):
    SECRETS.mkdir(mode=0o700, exist_ok=True)
    SECRETS.chmod(0o700)
    # Written aside and renamed: there is never a half-written secret to re-use.
    draft = SECRETS / f".{name}"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text, encoding="utf-8")
    draft.rename(SECRETS / name)


def new_password():
    return secrets.token_urlsafe(24)


def new_ssh_key():
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def public_half(private):
    key = serialization.load_ssh_private_key(private.encode(), password=None).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


# ---- containers -----------------------------------------------------------------------------------------------------


def check_owner(kind, thing):
    owner = (thing.attrs.get("Labels") or thing.attrs.get("Config", {}).get("Labels") or {}).get(LABEL)
    if owner != str(CHECKOUT):
        whose = f"it belongs to the demo of {owner}: run 'make clean' there" if owner else "it is not the demo's"
        raise DemoError(f"there is a {kind} {thing.name} already, and {whose}")


def network(engine):
    for found in engine.networks.list(names=[NETWORK]):
        if found.name == NETWORK:
            check_owner("network", found)
            return
    say(f"making the network {NETWORK}")
    engine.networks.create(NETWORK, labels={LABEL: str(CHECKOUT)})


def published(container):
    bindings = container.attrs["HostConfig"].get("PortBindings") or {}
    return {port: (ADDRESS, int(hosts[0]["HostPort"])) for port, hosts in bindings.items()}


def check_port(address, variable):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise DemoError(
                f"port {address[1]} on {address[0]} cannot be used ({error.strerror}); name another with {variable}=..."
            ) from error


def existing(engine, name):
    try:
        found = engine.containers.get(name)
    except docker.errors.NotFound:
        return None
    check_owner("container", found)
    return found


def started_again(stopped):
    say(f"starting the container {stopped.name} again")
    try:
        stopped.start()
    except docker.errors.APIError as error:
        # After an engine's sudden end its network may be another one.
        say(f"it does not start: {error.explanation}")
        return False
    return True


def container(engine, name, image, ports):
    """A running container of that name: the one that runs, the one that stopped, or a new one."""
    addresses = {inside: address for inside, (address, _variable) in ports.items()}
    found = existing(engine, name)
    runs = found is not None and found.status == "running"
    fits = found is not None and found.attrs["Image"] == engine.images.get(image).id and published(found) == addresses
    if runs and fits:
        say(f"the container {name} runs already")
        return found
    for address, variable in ports.values():
        if not (runs and address in published(found).values()):
            check_port(address, variable)
    if fits and started_again(found):
        return found
    if found:
        say(f"removing the container {name}, which does not fit any more")
        found.remove(force=True)
    say(f"starting the container {name} ({image})")
    return engine.containers.run(
        image,
        name=name,
        hostname=name,
        network=NETWORK,
        ports=addresses,
        labels={LABEL: str(CHECKOUT)},
        detach=True,
        **LIKE_A_HOST,
    )


def run_in(host, command):
    code, output = host.exec_run(command)
    return code, output.decode("utf-8", "replace").strip()


def wait_for_boot(host):
    state = "no answer"
    for _attempt in range(120):
        state = run_in(host, "systemctl is-system-running")[1]
        if state in ("running", "degraded"):
            return
        time.sleep(0.5)
    raise DemoError(f"{host.name} does not finish booting: {state}")


def copy_into(host, path, content):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
        tar.addfile(entry, io.BytesIO(content))
    host.put_archive("/", archive.getvalue())


def set_up_gerrit(gerrit):
    say("letting germqtt's key in at Gerrit, noting Gerrit's host key, keeping events flowing")
    public_key = public_half(secret("germqtt_ssh_key", new_ssh_key))
    copy_into(gerrit, "/etc/ssh/authorized_keys/germqtt", f"{public_key}\n".encode())
    code, host_key = run_in(gerrit, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    if code != 0:
        raise DemoError(f"Gerrit has no host key: {host_key}")
    write_secret("gerrit_host_keys", host_key + "\n")
    copy_into(gerrit, "/srv/gerrit/replay.jsonl", FIXTURE.read_bytes())
    if run_in(gerrit, "systemctl is-active --quiet replay")[0] != 0:
        replay = "python3 /srv/gerrit/replay_events.py /srv/gerrit/replay.jsonl 2"
        code, output = run_in(gerrit, f"systemd-run --quiet --collect --unit=replay {replay}")
        if code != 0:
            raise DemoError(f"the events do not start flowing: {output}")


# ---- the playbook, and the proof ------------------------------------------------------------------------------------


def run_playbook():
    command = ["ansible-playbook", "playbooks/firehose.yml", "-i", "inventory"]
    say(f"running: {' '.join(command)}")
    path = f"{CHECKOUT / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if subprocess.run(command, cwd=CHECKOUT, env=os.environ | {"PATH": path}, check=False).returncode != 0:
        raise DemoError("the playbook failed; the containers stay as they are, to look at")


def listen(transport, port, arrived, enough):
    """Subscribe as anybody may, and keep the first events."""

    def on_connect(client, _userdata, _flags, _reason_code, _properties):
        client.subscribe("#")

    def on_message(_client, _userdata, message):
        arrived.append(message)
        if len(arrived) >= EVENTS_TO_SHOW:
            enough.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport=transport)
    client.on_connect, client.on_message = on_connect, on_message
    client.connect(ADDRESS, port)
    client.loop_start()
    return client


def show_events(mqtt_port, ws_port):
    say("subscribing as anybody, over TCP and over websockets")
    listeners = []
    for transport, port in (("tcp", mqtt_port), ("websockets", ws_port)):
        arrived, enough = [], threading.Event()
        try:
            client = listen(transport, port, arrived, enough)
        except OSError as error:
            raise DemoError(f"no connection over {transport} to port {port}: {error}") from error
        listeners.append((transport, client, arrived, enough))
    deadline = time.monotonic() + SECONDS_TO_WAIT
    for transport, client, arrived, enough in listeners:
        enough.wait(deadline - time.monotonic())
        client.disconnect()
        client.loop_stop()
        if not arrived:
            raise DemoError(f"no event arrived over {transport} within {SECONDS_TO_WAIT} seconds")
        print(f"over {transport}:")
        for message in arrived[:EVENTS_TO_SHOW]:
            payload = message.payload.decode("utf-8", "replace")
            print(f"  {message.topic}  {payload[:72]}{'…' if len(payload) > 72 else ''}")


def start():
    mqtt_port, ws_port = port_from("DEMO_MQTT_PORT", 1883), port_from("DEMO_WS_PORT", 8080)
    account_port = port_from("DEMO_ACCOUNT_PORT", 1884)
    if len({mqtt_port, ws_port, account_port}) < 3:
        raise DemoError("DEMO_MQTT_PORT, DEMO_WS_PORT and DEMO_ACCOUNT_PORT must differ")
    release = os.environ.get("DEMO_RELEASE") or "13"
    if release not in ("12", "13", "14"):
        raise DemoError(f"DEMO_RELEASE must be 12, 13 or 14, not {release!r}")

    engine = docker.from_env()
    network(engine)
    gerrit = container(engine, GERRIT, "opendev-firehose/gerrit", {})
    firehose = container(
        engine,
        FIREHOSE,
        f"opendev-firehose/debian:{release}",
        {
            "1883/tcp": ((ADDRESS, mqtt_port), "DEMO_MQTT_PORT"),
            "80/tcp": ((ADDRESS, ws_port), "DEMO_WS_PORT"),
            "1884/tcp": ((ADDRESS, account_port), "DEMO_ACCOUNT_PORT"),
        },
    )
    for host in (gerrit, firehose):
        wait_for_boot(host)
    firehose.reload()
    # The ports of the loopback are mapped. The playbook verify connects to the container itself.
    write_secret("firehose_address", firehose.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])
    set_up_gerrit(gerrit)
    for account in ("germqtt", "demo", "monitor"):
        secret(f"{account}_password", new_password)
    run_playbook()
    show_events(mqtt_port, ws_port)

    connection = {
        "host": ADDRESS,
        "mqtt_port": mqtt_port,
        "ws_port": ws_port,
        "firehose_container": FIREHOSE,
        "gerrit_container": GERRIT,
        "publisher": {
            "username": "demo",
            "password": secret("demo_password", new_password),
            "topics": ["demo/#"],
            "host": ADDRESS,
            "port": account_port,
        },
    }
    write_secret("connection.json", json.dumps(connection, indent=2) + "\n")
    say(f"""the firehose runs
   subscribe   mosquitto_sub -h {ADDRESS} -p {mqtt_port} -t '#' -v
   websockets  ws://{ADDRESS}:{ws_port}/
   accounts    .demo/connection.json (a publisher), .demo/monitor_password (a reader of $SYS)
   stop        make clean""")


if __name__ == "__main__":
    try:
        start()
    except (DemoError, docker.errors.DockerException) as error:
        sys.exit(f"error: {error}")
