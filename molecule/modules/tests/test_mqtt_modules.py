# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MQTT client modules, on each host with its own broker, and on the control node.

All cases are tasks of one playbook, which runs once. Each test checks the results of one case at all places.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import testinfra
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
FOLDER = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
VARIABLES = yaml.safe_load((SCENARIO / "group_vars/broker.yml").read_text(encoding="utf-8"))
PASSWORDS = {user["name"]: user["password"] for user in VARIABLES["mosquitto_users"]}

# The number of brokers that each place connects to. Differences between releases are tested on the hosts.
BROKERS = {"host": 3, "control": 1}
# A host reaches its own broker by name, the control node by address. The certificate is valid for both.
PLACES: dict[str, dict[str, t.Any]] = {
    "host": {
        "place": "host",
        "where": "firehose01.example.org",
        "ca": "/etc/ssl/firehose-ca.pem",
        "client": f"{VARIABLES['certificates']}/client",
    },
    "control": {
        "place": "control",
        "where": "{{ addresses[inventory_hostname] }}",
        "ca": f"{FOLDER}/ca.pem",
        "client": f"{FOLDER}/{{{{ inventory_hostname }}}}-client",
    },
}
TLS = {"tls": True, "ca_path": "{{ ca }}"}
WAYS: dict[str, dict[str, t.Any]] = {
    "tcp": {},
    "websockets": {"transport": "websockets"},
    "unix": {"transport": "unix", "socket": "/run/mosquitto/broker.sock"},
    "tls": TLS,
    "websockets-tls": {"transport": "websockets", **TLS},
    "client-certificate": {
        **TLS,
        "port": 8884,
        "client_cert": "{{ client }}.pem",
        "client_key": "{{ client }}-key.pem",
    },
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, and its expected result: values, or a regular expression for `msg` and `reason`."""

    name: str
    module: str
    arguments: dict[str, t.Any]
    expected: dict[str, t.Any]
    check: bool = False

    def task(self) -> dict[str, t.Any]:
        options = {"host": "{{ where }}"} | self.arguments
        task = {"name": self.name, f"opendev.firehose.{self.module}": options, "ignore_errors": True}
        return task | ({"check_mode": True} if self.check else {})

    def differences(self, result: dict[str, t.Any]) -> dict[str, t.Any]:
        """The actual values that differ from the expected ones, by name."""
        return {
            name: result.get(name)
            for name, wanted in self.expected.items()
            if not (
                re.search(wanted, str(result.get(name))) if name in ("msg", "reason") else result.get(name) == wanted
            )
        }


def account(name: str = "zuul") -> dict[str, str]:
    return {"username": name, "password": PASSWORDS[name]}


def publish(name: str, expected: dict[str, t.Any], *, check: bool = False, **arguments: t.Any) -> Case:
    return Case(name, "mqtt_publish", account() | {"topic": "zuul/{{ place }}"} | arguments, expected, check)


def subscribe(name: str, expected: dict[str, t.Any], *, check: bool = False, **arguments: t.Any) -> Case:
    return Case(name, "mqtt_subscribe", account() | {"topics": ["zuul/{{ place }}"]} | arguments, expected, check)


def info(name: str, expected: dict[str, t.Any], *, check: bool = False, **arguments: t.Any) -> Case:
    return Case(name, "mqtt_info", account("statistics") | arguments, expected, check)


def failure(name: str, cause: str, message: str, **arguments: t.Any) -> Case:
    return publish(name, {"failed": True, "cause": cause, "msg": message}, **arguments)


def message(topic: str, payload: str, qos: int = 1) -> dict[str, t.Any]:
    return {"topic": topic, "payload": payload, "payload_base64": None, "qos": qos, "retain": True}


def way_cases() -> t.Iterator[Case]:
    """Each way with each version: a message is published and received."""
    for (way, options), version in itertools.product(WAYS.items(), ["3.1.1", "5"]):
        arguments = {**options, "protocol_version": version}
        name, payload = f"{way} {version}", f"{way} {version}: grüße"
        known = {"acceptance": "accepted", "reason": "accepted the message"}
        unknown = {"acceptance": "unknown", "reason_code": None, "reason": "MQTT 3.1.1"}
        for qos in (0, 1, 2) if way in ("tcp", "websockets") else (1,):
            topic = f"zuul/{{{{ place }}}}/{way}/{version}/{qos}"
            expected: dict[str, t.Any] = {"changed": True} | (known if version == "5" else unknown)
            if qos == 0:
                expected = {"changed": True, "acceptance": "unknown", "reason_code": None, "reason": "QoS 0"}
            yield publish(
                f"{name} publish {qos}", expected, topic=topic, payload=payload, qos=qos, retain=True, **arguments
            )
            got = {"changed": False, "count": 1, "ignored": 0, "messages": [message(topic, payload, qos)]}
            yield subscribe(f"{name} subscribe {qos}", got, topics=[topic], qos=2, **arguments)
        yield info(f"{name} info", {"changed": False}, **arguments)


def cases() -> t.Iterator[Case]:
    yield from way_cases()

    # the broker's answer to a message
    refused = {"failed": True, "changed": False, "cause": "message", "acceptance": "refused", "reason_code": 135}
    refused |= {"reason": "not authorized", "msg": "port 1883: elsewhere: .*not authorized"}
    yield publish("forbidden 5 1", refused, topic="elsewhere")
    yield publish("forbidden 5 2", refused, topic="elsewhere", qos=2)
    silent = {"changed": True, "acceptance": "unknown", "reason_code": None}
    yield publish("forbidden 3 1", silent, topic="elsewhere", protocol_version="3.1.1")
    yield publish("forbidden 3 2", silent, topic="elsewhere", protocol_version="3.1.1", qos=2)
    nobody = {"acceptance": "accepted", "reason_code": 16, "reason": "no matching subscribers"}
    yield publish("nobody subscribes 1", nobody)
    yield publish("nobody subscribes 2", {"acceptance": "accepted", "reason_code": 0}, qos=2)
    unsent = {"changed": True, "acceptance": "unknown", "reason_code": None, "reason": "check mode"}
    yield publish("check", unsent, check=True, topic="zuul/{{ place }}/unsent", retain=True)
    yield subscribe("nothing was sent", {"count": 0}, topics=["zuul/{{ place }}/unsent"], count=0, timeout=1)
    yield publish("check without a login", {"failed": True, "cause": "login"}, check=True, password="wrong")

    # causes
    yield failure("wrong password 5", "login", r"port 1883: .*let this client in: not authorized", password="wrong")
    yield failure("wrong password 3", "login", "return code 5", password="wrong", protocol_version="3.1.1")
    yield failure("wrong password websockets", "login", "websockets", password="wrong", transport="websockets")
    anonymous = {"failed": True, "cause": "login"}
    yield Case("anonymous", "mqtt_publish", {"topic": "zuul/{{ place }}"}, anonymous)
    yield failure("nobody listens", "unreachable", "port 1999: nothing listens there: Connection refused", port=1999)
    yield failure("no socket", "unreachable", "/none: nothing listens", transport="unix", socket="/none")
    unknown = "nowhere.invalid port 1883: the name of the host cannot be resolved"
    yield failure("unknown name", "unreachable", unknown, host="nowhere.invalid")
    yield failure("untrusted", "tls", r"\(TLS\): the broker's certificate is not valid: .*issuer", tls=True)
    yield failure("untrusted websockets", "tls", "issuer", tls=True, transport="websockets")
    yield failure("expired", "tls", "certificate has expired", port=8885, **TLS)
    yield failure("another name", "tls", "not valid for '", port=8886, **TLS)
    yield publish("any certificate", {"acceptance": "accepted"}, port=8886, tls=True, validate_certs=False)
    yield publish(
        "any certificate 2", {"acceptance": "accepted"}, tls=True, validate_certs=False, transport="websockets"
    )
    yield failure("no client certificate", "tls", "TLS failed: .*CERTIFICATE_REQUIRED", port=8884, **TLS)
    yield failure("no such authorities", "tls", "ca_path: /none: No such file", tls=True, ca_path="/none")
    yield failure("tls to none", "tls", "port 1883 .TLS.: TLS failed: ", port=1883, **TLS)
    yield failure("none to tls", "not_mqtt", "port 8883: .*TLS", port=8883)
    yield failure(
        "websockets to none", "not_mqtt", "does not speak MQTT over websockets", port=1883, transport="websockets"
    )
    yield failure("none to websockets", "not_mqtt", "port 80: ", port=80, connect_timeout=2)
    yield failure("too high a qos 5", "lost", "ended the connection: QoS not supported", port=1884, qos=2)
    yield failure("too high a qos 3", "lost", "lost", port=1884, qos=2, protocol_version="3.1.1")

    # which messages count
    build = '{"event": "finished", "n": 0}'
    yield publish("json", {"acceptance": "accepted"}, topic="zuul/{{ place }}/json", payload=build, retain=True)
    yield publish("no json", {"acceptance": "accepted"}, topic="zuul/{{ place }}/text", payload="{", retain=True)
    both = {"topics": ["zuul/{{ place }}/json", "zuul/{{ place }}/text"], "timeout": 2}
    found = {"count": 1, "ignored": 0, "messages": [message("zuul/{{ place }}/json", build)]}
    yield subscribe("condition", found, **both, condition="event == 'finished'")
    yield subscribe("zero is true", found, **both, condition="n", check=True)
    few = {
        "failed": True,
        "cause": "messages",
        "count": 1,
        "ignored": 1,
        "msg": "of 2 matching messages 1 came within 2 s",
    }
    yield subscribe("too few", few, **both, condition="event == 'finished'", count=2)
    yield subscribe("none matches", {"count": 0, "ignored": 2}, **both, condition="event == 'begun'", count=0)
    retained = {"failed": True, "cause": "messages", "count": 0, "ignored": 2}
    yield subscribe("without retained ones", retained, **both, retained=False)
    wrong = {"failed": True, "cause": "messages", "count": 1, "msg": "a message came on zuul/"}
    yield subscribe("one too many", wrong, **both, count=0)
    syntax = {"failed": True, "cause": None, "msg": "condition: 'event =='"}
    yield subscribe("broken condition", syntax, **both, condition="event ==", port=1999)

    # the broker's information about itself
    untold = {"failed": True, "cause": "silent", "msg": "may not read it"}
    yield Case("untold", "mqtt_info", account() | {"timeout": 3}, untold)
    yield info("told", {"changed": False}, check=True)


CASES = list(cases())


@dataclasses.dataclass(frozen=True)
class Results:
    """The results of all cases, by place, host and name, and the output of Ansible."""

    found: dict[str, dict[str, dict[str, dict[str, t.Any]]]]
    output: str


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Run all tasks, on the hosts and then on the control node."""
    runner = AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"])
    hosts = {name: testinfra.get_host(f"docker://{name}") for name in runner.get_hosts("broker")}
    addresses = {name: host.check_output("hostname -i") for name, host in hosts.items()}
    delegated = {
        "delegate_to": "localhost",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }
    plays = [
        {
            "name": place,
            "hosts": f"broker[0:{BROKERS[place] - 1}]",
            "gather_facts": False,
            "vars": variables | {"addresses": addresses},
            "tasks": [
                case.task() | (delegated if place == "control" else {}) for case in CASES if place in places(case)
            ],
        }
        for place, variables in PLACES.items()
    ]
    playbook = tmp_path_factory.mktemp("playbook") / "cases.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    settings = {
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_DISPLAY_FAILED_STDERR": "false",
    }
    command = ["ansible-playbook", str(playbook), "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    run = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[WARNING]" not in run.stderr, run.stderr
    found: dict[str, dict[str, dict[str, dict[str, t.Any]]]] = {}
    for play in json.loads(run.stdout)["plays"]:
        hosts = found.setdefault(play["play"]["name"], {})
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                hosts.setdefault(host, {})[task["task"]["name"]] = result
    return Results(found, run.stdout + run.stderr)


def places(case: Case) -> list[str]:
    """The places at which a case can be tried."""
    return ["host"] if case.arguments.get("transport") == "unix" else [*BROKERS]


def with_place(value: t.Any, place: str) -> t.Any:
    """Replace the template in expected values, as Ansible does."""
    return json.loads(json.dumps(value).replace("{{ place }}", place))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_result_of_a_case(results: Results, case: Case) -> None:
    looked, wrong = 0, {}
    for place, hosts in results.found.items():
        expected = dataclasses.replace(case, expected=with_place(case.expected, place))
        for host, by_name in hosts.items():
            if case.name in by_name:
                looked += 1
                result = by_name[case.name]
                differences = expected.differences(result)
                if differences or ("failed" not in case.expected and result.get("failed")):
                    wrong[place, host] = differences | {"msg": result.get("msg")}
    assert looked == sum(BROKERS[place] for place in places(case))
    assert wrong == {}


def test_mqtt_info_returns_the_brokers_statistics(results: Results) -> None:
    for by_name in itertools.chain.from_iterable(hosts.items() for hosts in results.found.values()):
        host, result = by_name[0], by_name[1]["told"]
        package = testinfra.get_host(f"docker://{host}").package("mosquitto")
        assert result["version"] == package.version.partition("-")[0]
        assert result["uptime"] > 0
        assert result["clients"]["connected"] is not None
        assert result["bytes"]["received"]["count"] > 1000
        assert result["bytes"]["received"]["rate_1min"] > 0
        assert result["messages"]["retained"] > 20


@pytest.mark.parametrize("way", WAYS)
def test_mqtt_info_returns_the_days_left_of_a_certificate(results: Results, way: str) -> None:
    looked = [
        by_name[f"{way} 5 info"]
        for hosts in results.found.values()
        for by_name in hosts.values()
        if f"{way} 5 info" in by_name
    ]
    assert len(looked) == (BROKERS["host"] if way == "unix" else sum(BROKERS.values()))
    for result in looked:
        found = result["certificate"]
        if WAYS[way].get("tls"):
            assert found["days_left"] in (29, 30)
            assert (found["subject"], found["issuer"]) == ("commonName=good", "commonName=only for tests")
        else:
            assert found is None


def test_the_output_has_no_password(results: Results) -> None:
    assert not [password for password in PASSWORDS.values() if password in results.output]
