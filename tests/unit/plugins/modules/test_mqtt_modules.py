# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MQTT client modules, run as Ansible runs them, with a simulated session."""

# pylint: disable=raising-bad-type # it does not see that what is None is not raised

from __future__ import annotations

import collections
import json
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import received_messages
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure
from ansible_collections.opendev.firehose.plugins.modules import mqtt_info, mqtt_publish, mqtt_subscribe

PASSWORD = "a-Secret-of-tests"
MODULES = {
    mqtt_info: {},
    mqtt_publish: {"topic": "a"},
    mqtt_subscribe: {"topics": ["a"]},
}


class Session:
    """The methods of a session, without a broker."""

    code: int | None = 0
    refusal: Failure | None = None
    end: Failure | None = None
    silence: Failure | None = None
    arriving: t.Sequence[Message] = ()
    late: t.Sequence[Message] = ()
    shown: t.Mapping[str, t.Any] | None = None

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        self.done: list[tuple[t.Any, ...]] = []
        self.messages: collections.deque[Message] = collections.deque()
        type(self).latest = self

    def __enter__(self) -> Session:
        if self.refusal:
            raise self.refusal
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.done.append(("close",))

    def certificate(self) -> t.Mapping[str, t.Any] | None:
        return self.shown

    def publish(self, *args: t.Any) -> int | None:
        self.done.append(("publish", *args))
        return self.code

    def subscribe(self, *args: t.Any) -> None:
        self.done.append(("subscribe", *args))
        self.coming = list(self.arriving)

    def unsubscribe(self, *args: t.Any) -> None:
        self.done.append(("unsubscribe", *args))
        if self.silence:
            raise self.silence
        self.messages.extend(self.late)

    def run(self, done: t.Callable[[], bool], _deadline: float) -> bool:
        while not done():
            if not self.coming:
                if self.end:
                    raise self.end
                return False
            self.messages.append(self.coming.pop(0))
        return True


@pytest.fixture
def session(monkeypatch) -> type[Session]:
    kind = type("Session", (Session,), {})
    for module in MODULES:
        monkeypatch.setattr(module, "Session", kind)
    return kind


@pytest.fixture
def run(capsys, tmp_path, session):
    """Run a module and return its result; fail if the password is in its output."""

    def run_module(module: t.Any, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        args = {"username": "a", "password": PASSWORD, **MODULES[module], **options}
        args |= {"_ansible_check_mode": check, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args(args), pytest.raises(SystemExit):
            module.main()
        output = capsys.readouterr()
        assert PASSWORD not in output.out + output.err
        return json.loads(output.out)

    return run_module


def message(payload: bytes, topic: str = "a", retain: bool = False) -> Message:
    return Message(topic, payload, 0, retain)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_invalid_options_prevent_a_connection(run, session, module):
    result = run(module, port=0, ca_path="/ca")
    assert result["failed"]
    assert "port: 0" in result["msg"]
    assert "ca_path needs tls" in result["msg"]
    assert not hasattr(session, "latest")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_failure_has_its_cause(run, session, module):
    session.refusal = Failure("login", "not let in")
    result = run(module)
    assert (result["failed"], result["cause"], result["msg"]) == (True, "login", "not let in")
    assert "messages" not in result


@pytest.mark.parametrize(
    ("module", "option", "problem"),
    [
        (mqtt_publish, {"topic": "a/#"}, "topic: 'a/#'"),
        (mqtt_publish, {"qos": 3}, "qos must be one of"),
        (mqtt_subscribe, {"topics": []}, "topics: there is none"),
        (mqtt_subscribe, {"topics": ["a", "b#"]}, "topics[1]: 'b#'"),
        (mqtt_subscribe, {"count": -1}, "count: -1"),
        (mqtt_subscribe, {"timeout": 0}, "timeout: 0"),
        (mqtt_subscribe, {"condition": "a =="}, "condition: 'a =='"),
        (mqtt_subscribe, {"condition": "nothing(@)"}, "Unknown function"),
        (mqtt_info, {"timeout": -1}, "timeout: -1"),
    ],
)
def test_invalid_options_of_a_module(run, session, module, option, problem):
    result = run(module, **option)
    assert result["failed"]
    assert problem in result["msg"]
    assert not hasattr(session, "latest")


def test_publish(run, session):
    result = run(mqtt_publish, payload="b", qos=2, retain=True)
    assert (result["changed"], result["acceptance"], result["reason_code"]) == (True, "accepted", 0)
    assert session.latest.done == [("publish", "a", "b", 2, True), ("close",)]


def test_a_rejected_message_is_a_failure(run, session):
    session.code = 0x87
    result = run(mqtt_publish)
    assert (result["failed"], result["cause"]) == (True, "message")
    assert (result["acceptance"], result["reason_code"]) == ("refused", 135)
    assert "localhost port 1883: a: " in result["msg"]


def test_check_mode_logs_in_and_publishes_nothing(run, session):
    result = run(mqtt_publish, check=True)
    assert (result["changed"], result["acceptance"], result["reason_code"]) == (True, "unknown", None)
    assert session.latest.done == [("close",)]


def test_subscribe(run, session):
    session.arriving = [message(b"1"), message(b"\xff"), message(b"3")]
    result = run(mqtt_subscribe, count=2, check=True)
    assert (result["changed"], result["count"], result["ignored"]) == (False, 2, 0)
    assert [got["payload"] for got in result["messages"]] == ["1", None]
    assert session.latest.done == [("subscribe", ["a"], 1), ("close",)]


@pytest.mark.parametrize(
    ("given", "msg"),
    [
        ({"count": 3}, "of 3 matching messages 2 came within 10 seconds, and 0 that do not match"),
        ({"count": 2, "condition": "@ > `1`"}, "of 2 matching messages 1 came within 10 seconds, and 1 that do not"),
        ({"count": 0}, "a message came on a that should not"),
        ({"count": 2, "retained": False}, "of 2 matching messages 1 came"),
    ],
)
def test_unexpected_messages_are_a_failure(run, session, given, msg):
    session.arriving = [message(b"1", retain=True), message(b"2")]
    result = run(mqtt_subscribe, **given)
    assert (result["failed"], result["cause"]) == (True, "messages")
    assert msg in result["msg"]
    assert result["count"] == len(result["messages"])


def test_a_count_of_zero_expects_no_message(run, session):
    session.arriving = [message(b"1")]
    result = run(mqtt_subscribe, count=0, condition="@ > `1`")
    assert (result["changed"], result["count"], result["ignored"]) == (False, 0, 1)
    assert session.latest.done == [("subscribe", ["a"], 1), ("unsubscribe", ["a"]), ("close",)]


def test_a_dead_connection_does_not_count_as_silence(run, session):
    session.silence = Failure("no_answer", "did not confirm")
    result = run(mqtt_subscribe, count=0)
    assert (result["failed"], result["cause"]) == (True, "no_answer")


def test_messages_before_the_unsubscription_is_confirmed_count(run, session):
    session.late = [message(b"1")]
    result = run(mqtt_subscribe, count=0)
    assert (result["failed"], result["cause"], result["count"]) == (True, "messages", 1)


def test_messages_before_a_lost_connection_are_returned(run, session):
    session.arriving, session.end = [message(b"1")], Failure("lost", "gone")
    result = run(mqtt_subscribe, count=2)
    assert (result["cause"], result["count"], result["messages"][0]["payload"]) == ("lost", 1, "1")


def test_jmespath_is_needed_only_for_conditions(run, session, monkeypatch):
    monkeypatch.setattr(received_messages, "JMESPATH_ERROR", "Traceback")
    session.arriving = [message(b"1")]
    assert run(mqtt_subscribe)["count"] == 1
    result = run(mqtt_subscribe, condition="@")
    assert "jmespath" in result["msg"]
    assert "package python3-jmespath" in result["msg"]


def test_info(run, session):
    session.arriving = [message(b"mosquitto version 2.1.2", "$SYS/broker/version"), message(b"7", "$SYS/broker/uptime")]
    result = run(mqtt_info)
    assert (result["changed"], result["version"], result["uptime"]) == (False, "2.1.2", 7)
    assert result["certificate"] is None
    assert session.latest.done == [("subscribe", ["$SYS/broker/#"], 0), ("close",)]


@pytest.mark.parametrize(
    ("days", "given", "warned"),
    [
        (14, {}, False),
        (13, {}, True),
        (13, {"certificate_warn_days": 13}, False),
        (20, {"certificate_warn_days": 30}, True),
    ],
)
def test_a_certificate_that_expires_soon_causes_a_warning(run, session, monkeypatch, days, given, warned):
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, words: warnings.append(words))
    session.shown = {"not_after": "2027-03-01T12:00:00Z", "days_left": days, "subject": "", "issuer": ""}
    session.arriving = [message(b"7", "$SYS/broker/uptime")]
    result = run(mqtt_info, tls=True, **given)
    assert result["certificate"] == session.shown
    words = f"localhost port 8883 (TLS): the broker's certificate: {days} days left, until 2027-03-01T12:00:00Z"
    assert warnings == [words] * warned


def test_a_broker_without_sys_topics(run, session):
    result = run(mqtt_info, timeout=3)
    assert (result["failed"], result["cause"]) == (True, "silent")
    assert "within 3 seconds" in result["msg"]
    assert "sys_interval 0" in result["msg"]
