# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification playbook: it passes for a correct firehose, changes nothing, and names the problems of a broken one."""

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

NOTHING = "anonymous clients cannot publish"
WORTHLESS = "publishers need their password"
CLOSED = "$SYS is closed"
ON_HOST = "publishers need their password on the host too"
SAME = "all listeners deliver the same message"
FEED = "events arrive below 'gerrit'"
ANONYMOUS_ACCEPTED = {
    f"port {place}, MQTT {version}) accepts anonymous clients"
    for place in ("1883 (mqtt", "80 (websockets", "8883 (mqtt, TLS", "443 (websockets, TLS")
    for version in ("3.1.1", "5")
}
ANONYMOUS_REJECTED = {
    f"port {place}, MQTT {version}) rejects clients without an account"
    for place in ("1884 (mqtt", "8084 (websockets")
    for version in ("3.1.1", "5")
}
LASTS = {f"port {place}, TLS) has a valid certificate" for place in ("8883 (mqtt", "443 (websockets")}
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
# the reference publishers that run on the hosts in the meantime
BEACONS = "pgrep --list-name beacon-"
FILES = "/etc/mosquitto*/passwd /etc/mosquitto*/acl /etc/mosquitto*/mosquitto.conf /etc/firehose-haproxy/haproxy.cfg"
SERVICES = f"mosquitto.service '{PUBLIC_BROKERS}' {HAPROXY}.service germqtt.service"


def command(firehoses: Firehoses, *arguments: str, **variables: t.Any) -> list[str]:
    """The command that runs the playbook, with the addresses at which anonymous clients reach the hosts."""
    found = ["ansible-playbook", "playbooks/verify.yml", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    found += ["-i", addresses({name: firehose.address for name, firehose in firehoses.items()}), *arguments]
    return [*found, "--extra-vars", json.dumps({"firehose_verify_ca_file": ca_file()} | variables)]


class Verified:
    """A run of the playbook: for each host the verdict and the results in the table."""

    def __init__(self, firehoses: Firehoses, *arguments: str, **variables: t.Any) -> None:
        settings = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOG_PATH": "/dev/null"}
        settings["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.json"  # and no callback that prints something else
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
    """The state that a run must not change."""
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
    """A run on correct firehoses, with a subscriber that stays connected to each."""
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


def test_each_publisher_with_a_known_password_is_checked(firehoses: Firehoses, good: Verified) -> None:
    for name, firehose in firehoses.items():
        expected = {f"publisher {publisher!r} delivers": "passed" for publisher in firehose.publishers}
        assert len(expected) == 40
        expected["publisher 'hashed' delivers"] = "not checked"
        results = good.results(name)
        assert {check: results.get(check) for check in expected} == expected


def test_verification_changes_nothing_on_the_host(firehoses: Firehoses, good: Verified, before: dict[str, str]) -> None:
    assert good.checks
    assert firehoses.each(state) == before
    assert [name for name, found in before.items() if "beacon-" in found] == []


def test_check_mode_publishes_nothing_and_runs_the_other_checks(
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


def test_ansible_prints_no_warning(good: Verified) -> None:
    assert all(good.passed.values()), good.message
    assert "WARNING]" not in good.output


def test_the_output_has_no_password(firehoses: Firehoses, good: Verified) -> None:
    accounts = [account for firehose in firehoses.values() for account in firehose.publishers.values()]
    assert accounts
    assert [account.name for account in accounts if account.password and account.password in good.output] == []


# The commands that break a host, and the checks in the table that have to fail then
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
    "no feed, no websockets, and a pattern for any client": (
        "echo 'pattern write of/%c' | tee --append /etc/mosquitto-*/acl && mosquitto-apply --all"
        " && systemctl stop germqtt && sed -i '/^frontend 80$/a tcp-request connection reject' /etc/firehose-haproxy/haproxy.cfg"
        " && systemctl reload firehose-haproxy",
        {NOTHING, FEED, GERMQTT, *(check for check in ANONYMOUS_ACCEPTED if "80" in check)},
    ),
}

KEEP = "mkdir --parents /run/kept && cp -a --parents /etc/mosquitto*/mosquitto.conf /etc/mosquitto*/acl /etc/firehose-haproxy /run/kept"
RESTORE = (
    "cp -a --remove-destination /run/kept/etc / && mosquitto-apply --all"
    " && systemctl reload firehose-haproxy && systemctl start germqtt && rm --recursive /run/kept"
)


@pytest.fixture(scope="module")
def bad(
    firehoses: Firehoses, gerrit: Gerrit, good: Verified
) -> t.Iterator[dict[str, tuple[set[str], dict[str, str], str]]]:
    """A run on firehoses that are each broken in one way: expected failures, results and message."""
    assert all(good.passed.values()), good.message
    firehoses.each(lambda firehose: firehose.host.check_output(KEEP))
    for firehose, (script, _checks) in zip(firehoses.values(), BREAKS.values(), strict=True):
        firehose.host.check_output(script)
    try:
        with gerrit.events():
            verified = Verified(firehoses, firehose_verify_feed_timeout=20)
        # A broker that checks no passwords ends no session for a missing account.
        assert [left for left in firehoses.each(beacons).values() if left] == []
    finally:
        firehoses.each(lambda firehose: firehose.host.check_output(RESTORE))
    yield {
        way: (checks, verified.results(name), verified.message[name])
        for name, (way, (_script, checks)) in zip(firehoses, BREAKS.items(), strict=True)
    }


@pytest.mark.parametrize("way", BREAKS)
def test_a_broken_firehose_fails_the_matching_checks(
    bad: dict[str, tuple[set[str], dict[str, str], str]], way: str
) -> None:
    expected, results, message = bad[way]
    assert {check for check, result in results.items() if result == "failed"} == expected
    assert all(check in message for check in expected)
    assert ("germqtt.service" in message) == (FEED in expected)
    assert message.count("certificate has expired") == len([check for check in expected if "TLS" in check])


@pytest.fixture(scope="module")
def interrupted(firehoses: Firehoses, bad: t.Any) -> tuple[Firehose, str]:
    """A firehose, and the account that a run left behind when its control node was killed."""
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


def test_the_reference_publisher_ends_after_the_control_node_was_killed(interrupted: tuple[Firehose, str]) -> None:
    firehose, account = interrupted
    wait_until(lambda: not beacons(firehose), "no beacon was left", 40)
    assert account.removeprefix("firehose-verify-").isalnum()


def test_the_next_run_removes_the_account_of_an_interrupted_run(
    firehoses: Firehoses, gerrit: Gerrit, interrupted: tuple[Firehose, str], before: dict[str, str]
) -> None:
    """It removes the account, whose password is not known any more."""
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
