# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook that verifies a firehose: it passes a good one, leaves it as it was, and names what is wrong with a bad one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import typing as t

import pytest
from firehose_testing.clients import PahoSubscriber, Way, ca_file
from firehose_testing.fixtures import PROJECT, Firehose, Firehoses
from firehose_testing.gerrit import Gerrit
from firehose_testing.public import HAPROXY, PUBLIC_BROKERS
from firehose_testing.runs import addresses
from firehose_testing.waiting import wait_until

NOTHING = "anonymous clients publish nothing"
WORTHLESS = "a publisher's name is worth nothing without its password"
CLOSED = "$SYS is closed"
ON_HOST = "on the host, too, a name opens nothing without its password"
SAME = "all listeners deliver the same message"
FEED = "events arrive below 'gerrit'"
ANONYMOUS_ACCEPTED = {
    f"port {place}, MQTT {version}) accepts anonymous clients"
    for place in ("1883 (mqtt", "80 (websockets", "8883 (mqtt, TLS", "443 (websockets, TLS")
    for version in ("3.1.1", "5")
}
ANONYMOUS_REJECTED = {
    f"port {place}, MQTT {version}) turns away who has no account"
    for place in ("1884 (mqtt", "8084 (websockets")
    for version in ("3.1.1", "5")
}
LASTS = {f"port {place}, TLS) has a certificate that lasts" for place in ("8883 (mqtt", "443 (websockets")}
RETAINED = "retained messages"
SERVED = "listeners serve the certificates of their files"
GERMQTT = "germqtt is up to date"
IN_STEP = {
    "the accounts broker is up to date",
    "the public brokers are up to date",
    "HAProxy is up to date",
    SERVED,
    GERMQTT,
    "germqtt has its store",
}
PROMISES = (
    {NOTHING, WORTHLESS, CLOSED, SAME, FEED, ON_HOST, RETAINED}
    | ANONYMOUS_ACCEPTED
    | LASTS
    | IN_STEP
    | ANONYMOUS_REJECTED
)
# the processes that publish on the hosts in the meantime
BEACONS = "pgrep --list-name beacon-"
FILES = "/etc/mosquitto*/passwd /etc/mosquitto*/acl /etc/mosquitto*/mosquitto.conf /etc/firehose-haproxy/haproxy.cfg"
SERVICES = f"mosquitto.service '{PUBLIC_BROKERS}' {HAPROXY}.service germqtt.service"


def command(firehoses: Firehoses, *arguments: str, **variables: t.Any) -> list[str]:
    """The command that runs the playbook, as the public would reach the hosts."""
    found = ["ansible-playbook", "playbooks/verify.yml", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    found += ["-i", addresses({name: firehose.address for name, firehose in firehoses.items()}), *arguments]
    return [*found, "--extra-vars", json.dumps({"firehose_verify_ca_file": ca_file()} | variables)]


class Verified:
    """A run of the playbook: for each host whether it passed, and what the table says."""

    def __init__(self, firehoses: Firehoses, *arguments: str, **variables: t.Any) -> None:
        settings = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOG_PATH": "/dev/null"}
        settings["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.json"  # and none that prints something else
        run = subprocess.run(
            command(firehoses, "-vvv", *arguments, **variables),
            cwd=PROJECT,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = run.stdout + run.stderr
        [play] = json.loads(run.stdout[run.stdout.index("{\n") :])["plays"]
        tasks = {task["task"]["name"].split(" : ")[-1]: task["hosts"] for task in play["tasks"]}
        self.passed = {
            name: not result.get("failed") for name, result in tasks["Fail if a promise is not kept"].items()
        }
        self.message = {name: result.get("msg", "") for name, result in tasks["Fail if a promise is not kept"].items()}
        self.checks = {name: result["checks"] for name, result in tasks["Run the anonymous-client checks"].items()}
        self.warnings = {
            name: result.get("warnings", []) for name, result in tasks["Run the anonymous-client checks"].items()
        }

    def results(self, name: str) -> dict[str, str]:
        """The result of each check of a host."""
        return {check["check"]: check["result"] for check in self.checks[name]}


def state(firehose: Firehose) -> str:
    """What may not be another after a run."""
    stat = (
        f"sha256sum {FILES}; stat --format '%n %a %U %G' {FILES}; systemctl show --property MainPID {SERVICES};"
        f" {BEACONS} || true; ls -A /root /root/.ansible/* /root/.ansible_async"
    )
    return firehose.host.run(stat).stdout


def beacons(firehose: Firehose) -> str:
    return firehose.host.run(BEACONS).stdout


@pytest.fixture(scope="module")
def before(firehoses: Firehoses) -> dict[str, str]:
    return firehoses.each(state)


@pytest.fixture(scope="module")
def good(firehoses: Firehoses, gerrit: Gerrit, before: dict[str, str]) -> t.Iterator[Verified]:
    """A run on good firehoses, on which somebody listens all the time."""
    assert before
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(PahoSubscriber(firehose.address, Way("tcp", "5"), ["gerrit/#"]))
            for firehose in firehoses.values()
        ]
        with gerrit.events():
            verified = Verified(firehoses, firehose_verify_publishers=True)
        assert [listener.ended for listener in listeners] == [None] * len(firehoses)
        yield verified


def test_a_good_firehose_passes(firehoses: Firehoses, good: Verified) -> None:
    assert good.passed == dict.fromkeys(firehoses, True), good.message
    for name in firehoses:
        results = good.results(name)
        assert {check: results.get(check) for check in PROMISES} == dict.fromkeys(PROMISES, "passed")


def test_each_publisher_is_checked_whose_password_is_known(firehoses: Firehoses, good: Verified) -> None:
    for name, firehose in firehoses.items():
        expected = {f"publisher {publisher!r} delivers": "passed" for publisher in firehose.publishers}
        assert len(expected) == 40
        expected["publisher 'hashed' delivers"] = "not checked"
        results = good.results(name)
        assert {check: results.get(check) for check in expected} == expected


def test_it_leaves_everything_as_it_was(firehoses: Firehoses, good: Verified, before: dict[str, str]) -> None:
    assert good.checks
    assert firehoses.each(state) == before
    assert [name for name, found in before.items() if "beacon-" in found] == []


def test_check_mode_publishes_nothing_and_looks_at_the_rest(
    firehoses: Firehoses, gerrit: Gerrit, good: Verified, before: dict[str, str]
) -> None:
    assert all(good.passed.values()), good.message
    [firehose, *_others] = firehoses.values()
    with PahoSubscriber(firehose.address, Way("tcp", "5"), ["firehose/verify/#"]) as listener, gerrit.events():
        verified = Verified(firehoses, "--check", "--limit", firehose.name, firehose_verify_publishers=True)
        assert listener.messages == []
    assert {check for check, result in verified.results(firehose.name).items() if result == "passed"} == {
        *IN_STEP,
        *ANONYMOUS_REJECTED,
        CLOSED,
        RETAINED,
        FEED,
        *ANONYMOUS_ACCEPTED,
        *LASTS,
    }
    assert verified.passed == {firehose.name: True}, verified.message
    assert state(firehose) == before[firehose.name]


def test_ansible_warns_of_nothing(good: Verified) -> None:
    assert all(good.passed.values()), good.message
    assert "WARNING]" not in good.output


def test_no_password_is_shown(firehoses: Firehoses, good: Verified) -> None:
    accounts = [account for firehose in firehoses.values() for account in firehose.publishers.values()]
    assert accounts
    assert [account.name for account in accounts if account.password and account.password in good.output] == []


# What is done to a host, and what of the table has to fail then
BREAKS = {
    "no rules, and names that open all where accounts are": (
        "sed -i '/^acl_file/d' /etc/mosquitto-*/mosquitto.conf"
        " && sed -i '/^password_file/d; s/^allow_anonymous .*/allow_anonymous true/' /etc/mosquitto/mosquitto.conf"
        " && mosquitto-apply --all",
        {NOTHING, CLOSED, ON_HOST, *ANONYMOUS_REJECTED},
    ),
    "no password file, and a certificate that has expired": (
        "sed -i '/^password_file/d' /etc/mosquitto-*/mosquitto.conf && mosquitto-apply --all"
        " && cd /etc/firehose-haproxy && ln -sf /srv/certificates/expired.pem link-*.pem"
        " && ln -sf /srv/certificates/expired-key.pem link-*.pem.key && systemctl reload firehose-haproxy",
        {WORTHLESS, SERVED, *LASTS, *(check for check in ANONYMOUS_ACCEPTED if "TLS" in check)},
    ),
    "no feed, no websockets": (
        "systemctl stop germqtt && sed -i '/^frontend 80$/a tcp-request connection reject' /etc/firehose-haproxy/haproxy.cfg"
        " && systemctl reload firehose-haproxy",
        {FEED, GERMQTT, *(check for check in ANONYMOUS_ACCEPTED if "80" in check)},
    ),
}

KEEP = "mkdir --parents /run/kept && cp -a --parents /etc/mosquitto*/mosquitto.conf /etc/firehose-haproxy /run/kept"
RESTORE = (
    "cp -a --remove-destination /run/kept/etc / && mosquitto-apply --all"
    " && systemctl reload firehose-haproxy && systemctl start germqtt && rm --recursive /run/kept"
)


@pytest.fixture(scope="module")
def bad(
    firehoses: Firehoses, gerrit: Gerrit, good: Verified
) -> t.Iterator[dict[str, tuple[set[str], dict[str, str], str]]]:
    """A run on firehoses of which each is broken in its way: what had to fail, what did, and what was said."""
    assert all(good.passed.values()), good.message
    firehoses.each(lambda firehose: firehose.host.check_output(KEEP))
    for firehose, (script, _checks) in zip(firehoses.values(), BREAKS.values(), strict=True):
        firehose.host.check_output(script)
    try:
        with gerrit.events():
            verified = Verified(firehoses, firehose_verify_feed_timeout=20)
        # A broker that knows no passwords ends no session for want of one.
        assert [left for left in firehoses.each(beacons).values() if left] == []
    finally:
        firehoses.each(lambda firehose: firehose.host.check_output(RESTORE))
    yield {
        way: (checks, verified.results(name), verified.message[name])
        for name, (way, (_script, checks)) in zip(firehoses, BREAKS.items(), strict=True)
    }


@pytest.mark.parametrize("way", BREAKS)
def test_a_bad_firehose_fails_where_it_is_bad(bad: dict[str, tuple[set[str], dict[str, str], str]], way: str) -> None:
    expected, results, message = bad[way]
    assert {check for check, result in results.items() if result == "failed"} == expected
    assert all(check in message for check in expected)
    assert ("germqtt.service" in message) == (FEED in expected)
    assert message.count("certificate has expired") == len([check for check in expected if "TLS" in check])


@pytest.fixture(scope="module")
def interrupted(firehoses: Firehoses, bad: t.Any) -> tuple[Firehose, str]:
    """A firehose, and the account that a run left behind when its control node died."""
    assert bad
    [firehose, *_others] = firehoses.values()
    process = subprocess.Popen(
        command(firehoses, "--limit", firehose.name, firehose_verify_time_limit=20),
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: bool(beacons(firehose)), "there is a beacon", 120)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return firehose, firehose.host.check_output("grep -o '^firehose-verify-[0-9a-f]*' /etc/mosquitto/passwd")


def test_when_the_control_node_dies_nothing_runs_on_for_long(interrupted: tuple[Firehose, str]) -> None:
    firehose, account = interrupted
    wait_until(lambda: not beacons(firehose), "no beacon was left", 40)
    assert account.removeprefix("firehose-verify-").isalnum()


def test_the_next_run_passes_and_removes_what_another_left(
    firehoses: Firehoses, gerrit: Gerrit, interrupted: tuple[Firehose, str], before: dict[str, str]
) -> None:
    """The account, whose password nobody knows any more."""
    firehose, _account = interrupted
    with gerrit.events():
        again = Verified(firehoses, "--limit", firehose.name, firehose_verify_certificate_days=31)
    assert again.passed == {firehose.name: True}, again.message
    found = {check["check"]: check["cause"] for check in again.checks[firehose.name] if check["result"] == "warning"}
    assert set(found) == LASTS
    assert all(cause.startswith(("29 days left", "30 days left")) for cause in found.values())
    assert sorted(again.warnings[firehose.name]) == sorted(f"{check}: {cause}" for check, cause in found.items())

    def files(found: str) -> list[str]:
        return [line for line in found.splitlines() if "MainPID" not in line]

    assert files(state(firehose)) == files(before[firehose.name])
