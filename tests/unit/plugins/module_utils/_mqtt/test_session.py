# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions with servers that do not answer like a working broker. Real brokers are in the Molecule scenarios."""

# pylint: disable=used-before-assignment # it does not see what a `with` of several lines assigns

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, frames
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session

WELCOME = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}
TIMEOUT = 0.5


@contextlib.contextmanager
def server(*answers: bytes | None, reset: bool = False, takes: int = 4096):
    """Accept a connection, and answer each received piece with the next answer. None closes, and the end is silence."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _address = listening.accept()
            with connection, contextlib.suppress(ConnectionResetError):
                connection.settimeout(10)
                for answer in answers:
                    heard.append(connection.recv(takes))
                    if answer is None:
                        if reset:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    connection.sendall(answer)
                while heard[-1:] != [b""]:
                    heard.append(connection.recv(4096))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], heard
        thread.join(10)
        assert not thread.is_alive()


def options(**given):
    spec = {name: option.get("default") for name, option in client_options.argument_spec().items()}
    return spec | {"host": "127.0.0.1", "connect_timeout": TIMEOUT} | given


def failure(**given) -> Failure:
    """The failure at the start of a session."""
    with pytest.raises(Failure) as caught, Session(options(**given)):
        pytest.fail("there is a session")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "given", "cause", "words"),
    [
        (b"\x20\x03\x00\x87\x00", {}, "login", "not authorized (reason code 135)"),
        (b"\x20\x03\x00\x84\x00", {}, "refused", 'protocol_version: "3.1.1"'),
        (b"\x20\x02\x00\x01", {}, "refused", 'protocol_version: "3.1.1"'),  # a broker that supports only 3.1.1
        (b"\x20\x02\x00\x01", {"protocol_version": "3.1.1"}, "refused", "unsupported protocol version"),
        (b"\x20\x02\x00\x02", {"protocol_version": "3.1.1"}, "refused", "client identifier not valid"),
        (b"\x20\x02\x00\x02", {"protocol_version": "3.1.1"}, "refused", "keepalive is above its max_keepalive"),
        (b"\x20\x02\x00\x05", {"protocol_version": "3.1.1"}, "login", "not authorized (return code 5)"),
        (b"\x20\x03\x00\x8c\x00", {"username": "a", "password": "b"}, "login", "bad authentication method"),
        (None, {}, "not_mqtt", "closed the connection without an answer"),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nServer: a long enough one for the packet to end\r\n\r\n"
            * 2,
            {},
            "not_mqtt",
            "not with MQTT",
        ),
        (b"SSH-2.0-OpenSSH\r\n", {}, "not_mqtt", "not with MQTT"),
        (b"\x15\x03\x03\x00\x02\x02\x46", {}, "not_mqtt", "set tls: true"),
        (b"\x20\xff\xff\xff\xff\xff", {}, "not_mqtt", ""),
        (b"\x20\x00", {}, "not_mqtt", "not with MQTT"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", {"transport": "websockets"}, "not_mqtt", "websockets at the path /mqtt"),
        (b"\x20\x02\x00\x00\n\n", {"transport": "websockets"}, "not_mqtt", "websockets"),
        (None, {"transport": "websockets"}, "not_mqtt", "websockets"),
        (b"220 mail.example.org ESMTP\r\n", {"tls": True}, "tls", "TLS failed: WRONG_VERSION_NUMBER"),
        (None, {"tls": True}, "tls", "TLS failed"),
    ],
)
def test_causes(answer, given, cause, words):
    with server(answer) as (port, _heard):
        # Each answer decides at once. The timeout allows for a busy machine.
        found = failure(port=port, connect_timeout=4, **given)
    assert found.cause == cause
    assert str(found).startswith(f"127.0.0.1 port {port}")
    assert words in str(found)


@pytest.mark.parametrize("given", [{}, {"tls": True}, {"transport": "websockets"}])
def test_a_reset_is_a_failure_with_a_cause(given):
    with server(None, reset=True) as (port, _heard):
        assert failure(port=port, **given).cause in ("not_mqtt", "tls")


@pytest.mark.parametrize(
    "given", [{}, {"tls": True}, {"transport": "websockets"}, {"tls": True, "transport": "websockets"}]
)
def test_silence_ends_in_time(given):
    begin = time.monotonic()
    with server() as (port, _heard):
        found = failure(port=port, **given)
    assert found.cause == "no_answer"
    assert "it accepted the connection, but gave no answer within 0.5 seconds" in str(found)
    assert time.monotonic() - begin < TIMEOUT + 1


def test_nothing_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    found = failure(port=port)
    assert (found.cause, str(found)) == (
        "unreachable",
        f"127.0.0.1 port {port}: nothing listens there: Connection refused",
    )
    found = failure(transport="unix", socket=str(tmp_path / "none"))
    assert found.cause == "unreachable"
    assert f"the socket {tmp_path}/none: nothing listens there: No such file" in str(found)
    found = failure(host="nowhere.invalid")
    assert found.cause == "unreachable"
    assert "name of the host cannot be resolved" in str(found)


def test_invalid_certificate_files(tmp_path):
    (tmp_path / "text").write_text("text", encoding="utf-8")
    for given, words in [
        ({"ca_path": "/none"}, "ca_path: /none: No such file"),
        ({"ca_path": str(tmp_path / "text")}, "ca_path: "),
        ({"client_cert": "/none"}, "client_cert, client_key: /none: No such file"),
        ({"client_cert": str(tmp_path / "text")}, "client_cert, client_key: "),
    ]:
        found = failure(tls=True, **given)
        assert found.cause == "tls"
        assert words in str(found)


@pytest.mark.parametrize(
    ("version", "qos", "answers", "code"),
    [
        ("5", 1, [b"\x40\x02\x00\x01"], 0),
        ("5", 1, [b"\x40\x03\x00\x01\x10"], 0x10),
        ("5", 1, [b"\x40\x04\x00\x01\x87\x00"], 0x87),
        ("5", 2, [b"\x50\x02\x00\x01", b"\x70\x02\x00\x01"], 0),
        ("5", 2, [b"\x50\x03\x00\x01\x97"], 0x97),
        ("5", 0, [b"\xd0\x00"], None),
        ("3.1.1", 1, [b"\x40\x02\x00\x01"], None),
        ("3.1.1", 2, [b"\x50\x02\x00\x01", b"\x70\x02\x00\x01"], None),
    ],
)
def test_acknowledgements(version, qos, answers, code):
    with (
        server(WELCOME[version], *answers) as (port, heard),
        Session(options(port=port, protocol_version=version)) as session,
    ):
        assert session.publish("a", "b", qos, False) == code
    packets = b"".join(heard[1:])
    assert (b"\x62\x02\x00\x01" in packets) == (len(answers) == 2)  # PUBREL, not after a rejection
    assert packets.endswith(b"\xe0\x00")  # DISCONNECT


def test_a_qos_2_message_is_acknowledged_by_the_last_packet():
    with server(WELCOME["5"], b"\x50\x02\x00\x01") as (port, heard), Session(options(port=port)) as session:
        with pytest.raises(Failure, match="did not acknowledge the message within"):
            session.publish("a", "b", 2, False)
        assert heard[-1] == b"\x62\x02\x00\x01"


@pytest.mark.parametrize(
    ("answers", "cause", "words"),
    [
        ([b"\xe0\x01\x9b"], "lost", "QoS not supported (reason code 155)"),
        ([b"\xe0\x02\x8e\x00"], "lost", "session taken over"),
        ([b"\xe0\x00", None], "lost", "success"),
        ([None], "lost", "the connection was lost"),
        ([b"\x00\x00"], "lost", "lost"),
        ([], "no_answer", "did not acknowledge the message within 0.5 seconds"),
    ],
)
def test_the_end_of_a_session(answers, cause, words):
    with (
        server(WELCOME["5"], *answers) as (port, _heard),
        pytest.raises(Failure) as caught,
        Session(options(port=port)) as session,
    ):
        session.publish("a", "b", 1, False)
    assert caught.value.cause == cause
    assert words in str(caught.value)


@pytest.mark.parametrize("reset", [True, False])
def test_a_lost_qos_0_message_is_a_failure(reset):
    with (
        server(WELCOME["5"], None, reset=reset) as (port, _heard),
        pytest.raises(Failure, match="the connection was lost"),
        Session(options(port=port)) as session,
    ):
        session.publish("a", "b", 0, False)


def test_cutting_a_reset_connection_is_a_failure():
    with (
        server(WELCOME["5"], None, reset=True, takes=1) as (port, _heard),
        pytest.raises(Failure, match=rf"127.0.0.1 port {port}: the connection was lost") as caught,
        Session(options(port=port)) as session,
    ):
        time.sleep(0.2)
        session.vanish()
    assert caught.value.cause == "lost"


def test_the_reason_is_read_from_a_closed_connection():
    """The broker has closed the connection with unread packets, which resets it, and has sent the reason."""
    with (
        server(WELCOME["5"] + b"\xe0\x01\x8b", None, takes=1) as (port, _heard),
        pytest.raises(Failure) as caught,
        Session(options(port=port)) as session,
    ):
        time.sleep(0.2)
        session.publish("a", "b", 1, False)
    assert "server shutting down" in str(caught.value)


@pytest.mark.parametrize(
    ("version", "answer", "refused"),
    [
        ("5", b"\x90\x05\x00\x01\x00\x01\x87", ["b (not authorized"]),
        ("5", b"\x90\x05\x00\x01\x00\x00\x01", []),
        ("3.1.1", b"\x90\x04\x00\x01\x80\x80", ["a (unspecified", "b (unspecified"]),
    ],
)
def test_subscriptions(version, answer, refused):
    with (
        server(WELCOME[version], answer) as (port, _heard),
        Session(options(port=port, protocol_version=version)) as session,
    ):
        if not refused:
            session.subscribe(["a", "b"], 1)
            return
        with pytest.raises(Failure) as caught:
            session.subscribe(["a", "b"], 1)
    assert caught.value.cause == "subscription"
    assert all(words in str(caught.value) for words in refused)


@pytest.mark.parametrize(
    ("answers", "words"),
    [([b"\xb0\x04\x00\x01\x00\x11"], ""), ([], "did not confirm the end of the subscription within 0.5 seconds")],
)
def test_the_end_of_a_subscription(answers, words):
    with (
        server(WELCOME["5"], *answers) as (port, _heard),
        pytest.raises(Failure) if words else contextlib.nullcontext() as caught,
        Session(options(port=port)) as session,
    ):
        session.unsubscribe(["a", "b"])
    assert not words or (caught.value.cause, words in str(caught.value)) == ("no_answer", True)


@pytest.mark.parametrize(
    ("properties", "limits"),
    [
        (b"", (2, True)),
        (b"\x24\x00\x25\x00", (0, False)),
        (b"\x22\x00\x0a\x13\x00\x1e\x25\x00\x21\x00\x14\x24\x01", (1, False)),  # Mosquitto's answer
    ],
)
def test_limits_that_the_broker_announces(properties, limits):
    answer = bytes([0x20, 3 + len(properties), 0, 0, len(properties)]) + properties
    with server(answer) as (port, _heard), Session(options(port=port)) as session:
        assert (session.max_qos, session.retain_available) == limits


@pytest.mark.parametrize(("size", "fits"), [(12, True), (11, False)])
def test_a_message_above_the_maximum_packet_size_is_not_sent(size, fits):
    answer = b"\x20\x08\x00\x00\x05\x27" + size.to_bytes(4, "big")
    with server(answer, b"\x40\x02\x00\x01") as (port, heard), Session(options(port=port)) as session:
        if fits:
            session.publish("a", "four", 1, False)
        else:
            with pytest.raises(
                Failure, match=r"packet of 12 bytes, and the broker accepts .* up to 11 bytes"
            ) as caught:
                session.publish("a", "four", 1, False)
            assert caught.value.cause == "message"
    assert (b"four" in b"".join(heard)) == fits


@pytest.mark.parametrize(("answer", "pings"), [(b"\x20\x06\x00\x00\x03\x13\x00\x01", True), (WELCOME["5"], False)])
def test_the_server_keepalive_is_used(answer, pings):
    """With MQTT 5 the broker can request a shorter keepalive than the client's."""
    with server(answer, b"\xd0\x00") as (port, heard), Session(options(port=port, keepalive=60)) as session:
        session.run(lambda: False, time.monotonic() + 1.5)
        assert (b"\xc0\x00" in heard) == pings


def test_client_ids_cannot_be_guessed():
    with server(WELCOME["5"]) as (port, heard), Session(options(port=port)):
        pass
    with server(WELCOME["5"]) as (port, others), Session(options(port=port)):
        pass
    with server(WELCOME["5"]) as (port, own), Session(options(port=port, client_id="my own")):
        pass
    assert heard[0] != others[0]
    assert len(heard[0].rpartition(b"\x00\x16")[2]) == 22
    assert own[0].endswith(b"\x00\x06my own")


def test_an_encrypted_key_does_not_prompt(monkeypatch, tmp_path):
    """Without a terminal ssl only fails, but with one it would ask for the passphrase."""
    asked = []
    monkeypatch.setattr(
        ssl.SSLContext, "load_cert_chain", lambda _self, *_args, password=None: asked.append(password is None)
    )
    failure(tls=True, client_cert=str(tmp_path), port=1)
    assert asked == [False]


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("verified", [True, False])
def test_the_certificate_of_a_broker(certificate, transport, verified):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _address = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
                heard, head = encrypted.recv(4096), b""
                if transport == "websockets":
                    [key] = re.findall(r"(?i)sec-websocket-key: (\S+)", heard.decode())
                    accept = f"Sec-WebSocket-Accept: {frames.accept(key)}"
                    encrypted.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{accept}\r\n\r\n".encode())
                    encrypted.recv(4096)
                    head = bytes([0x82, len(WELCOME["5"])])
                encrypted.sendall(head + WELCOME["5"])
                while encrypted.recv(4096):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        trust = {"ca_path": str(certificate[0])} if verified else {"validate_certs": False}
        given = {"port": listening.getsockname()[1], "tls": True, "transport": transport, **trust}
        with Session(options(**given, connect_timeout=5)) as session:
            found = session.certificate()
        thread.join(10)
    assert (found["subject"], found["days_left"]) == ("commonName=broker", 1) if verified else found is None


def test_there_is_no_certificate_without_tls():
    with server(WELCOME["5"]) as (port, _heard), Session(options(port=port)) as session:
        assert session.certificate() is None
