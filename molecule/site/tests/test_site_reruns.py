# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further runs, of the whole site or of a part. Each test leaves the site as it found it, unless it fails."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from firehose_testing.clients import Account
from firehose_testing.site import EPHEMERAL, SCENARIO, Broker, Run, hosts_in, run_site

INSTALLED = EPHEMERAL / "collections/ansible_collections/opendev/firehose"
BLOG, WIKI, ZUUL = (Account(name, f"only-for-tests-{name}") for name in ("blog", "wiki", "zuul"))

RIGHTS_AND_RELOAD = [
    "opendev.firehose.mosquitto : Write the accounts",
    "opendev.firehose.mosquitto : Write the ACL rules",
    "opendev.firehose.mosquitto : Start, reload or restart the brokers",
]
PASSWORD_AND_RELOAD = [RIGHTS_AND_RELOAD[0], RIGHTS_AND_RELOAD[2]]


def working(broker: Broker) -> set[str]:
    """Which of three publishers can log in, and reach anonymous clients on their topics."""
    accounts = {"blog": BLOG, "wiki": WIKI, "zuul": ZUUL}
    assert all(
        broker.lets_in(account) == (broker.reached(account, f"{name}/a") == {f"{name}/a"})
        for name, account in accounts.items()
    )
    return {name for name, account in accounts.items() if broker.lets_in(account)}


def mentions(broker: Broker, *names: str) -> set[str]:
    """The accounts that are in the broker's files."""
    lines = broker.host.check_output("cut -d: -f1 /etc/mosquitto/passwd; cat /etc/mosquitto/acl").splitlines()
    assert {"germqtt", "user germqtt"} <= set(lines)
    return {name for name in names if {name, f"user {name}"} & set(lines)}


def at_all(hosts: t.Iterable[str], changes: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(hosts, changes)


@pytest.fixture(scope="module")
def checked() -> Run:
    return run_site("--check", "--diff")


def test_check_mode_reports_no_change(checked: Run) -> None:
    assert checked.changed == {}
    assert {host for _name, hosts in checked.plays for host in hosts} == {
        *hosts_in("firehose"),
        *hosts_in("broker"),
        *hosts_in("germqtt"),
    }


def test_all_tasks_are_of_the_site_or_the_installed_collection(checked: Run) -> None:
    def belongs(path: pathlib.Path) -> bool:
        return path.is_relative_to(SCENARIO) or path.is_relative_to(INSTALLED)

    assert [path for path in checked.paths if not belongs(path)] == []
    roles = {path.relative_to(INSTALLED).parts[1] for path in checked.paths if path.is_relative_to(INSTALLED)}
    assert roles == {"firehose", "firehose_public", "mosquitto", "germqtt"}
    assert (INSTALLED / "MANIFEST.json").is_file(), "this is no tarball's"


def test_the_firehoses_are_set_up_in_sequence(checked: Run) -> None:
    batches = [hosts for name, hosts in checked.plays if name == "Set up the firehoses, one after the other"]
    assert batches == [{name} for name in hosts_in("firehose")]


def test_a_handler_of_the_site_runs_only_for_its_own_task(sensors: Broker) -> None:
    """The handler has the name of a task of the collection."""

    def times() -> int:
        return sensors.host.file("/var/log/site-handlers").content_string.split().count("base")

    before = times()
    assert before > 0
    changes = ["site_base : Write the message of the day", "site_base : Start, reload or restart the brokers"]
    hosts = [*hosts_in("firehose"), *hosts_in("broker"), *hosts_in("germqtt")]
    assert run_site("--tags", "base", site_base_motd="Welcome back").changed == at_all(hosts, changes)
    assert run_site("--tags", "base").changed == at_all(hosts, changes)
    assert times() == before + 2


def test_the_firehose_role_keeps_accounts_of_other_roles(brokers: list[Broker]) -> None:
    """Unless it prunes. Then their roles add them again."""
    changed = {"name": "zuul", "password": "new", "topics": ["zuul/#", "internal/#"]}
    run = run_site("--tags", "firehose", firehose_publishers=[changed])
    assert run.changed == at_all(hosts_in("firehose"), PASSWORD_AND_RELOAD)
    assert [working(broker) for broker in brokers] == [{"blog", "wiki"}] * 2
    assert all(broker.reached(Account("zuul", "new"), "zuul/a") for broker in brokers)

    run = run_site("--tags", "firehose", firehose_prune=True)
    assert run.changed == at_all(hosts_in("firehose"), RIGHTS_AND_RELOAD)
    assert [working(broker) for broker in brokers] == [{"zuul"}] * 2
    assert [mentions(broker, "wiki", "blog") for broker in brokers] == [set()] * 2

    run = run_site("--tags", "wiki,blog")
    [wiki] = hosts_in("wiki")
    added = {wiki: [*RIGHTS_AND_RELOAD * 2, "site_wiki : Restart the wiki"]}
    assert run.changed == at_all(hosts_in("firehose"), RIGHTS_AND_RELOAD) | added
    assert [working(broker) for broker in brokers] == [{"blog", "wiki", "zuul"}] * 2


def test_the_role_of_a_service_manages_its_publisher(brokers: list[Broker]) -> None:
    """The role changes it at both firehoses, notifies its own handler once, and changes nothing else."""
    [wiki] = hosts_in("wiki")
    restart = "site_wiki : Restart the wiki"
    run = run_site("--tags", "wiki", site_wiki_password="new")
    assert run.changed == {wiki: [*PASSWORD_AND_RELOAD * 2, restart]}
    assert all(broker.reached(Account("wiki", "new"), "wiki/a", "zuul/a") == {"wiki/a"} for broker in brokers)
    assert [working(broker) for broker in brokers] == [{"blog", "zuul"}] * 2

    run = run_site("--tags", "wiki", site_wiki_publishes=False)
    assert run.changed == {wiki: [*RIGHTS_AND_RELOAD * 2, restart]}
    assert not any(broker.lets_in(Account("wiki", "new")) for broker in brokers)
    assert [working(broker) for broker in brokers] == [{"blog", "zuul"}] * 2
    assert [mentions(broker, "wiki") for broker in brokers] == [set()] * 2

    assert run_site("--tags", "wiki").changed == {wiki: [*RIGHTS_AND_RELOAD * 2, restart]}
    assert [working(broker) for broker in brokers] == [{"blog", "wiki", "zuul"}] * 2


def test_an_absent_account_is_removed_from_the_broker(sensors: Broker) -> None:
    sensor = Account("sensor", "only-for-tests-sensor")
    changes = {sensors.name: RIGHTS_AND_RELOAD}
    run = run_site("--tags", "sensors", site_sensors_account={"name": "sensor", "state": "absent"})
    assert run.changed == changes
    assert not sensors.lets_in(sensor)
    assert sensors.reached(sensors.watcher, "a") == {"a"}
    assert run_site("--tags", "sensors").changed == changes
    assert sensors.reached(sensor, "sensors/a", "a") == {"sensors/a"}


def test_ansible_warns_only_about_the_replaced_variable() -> None:
    """In all runs of the scenario: in check mode on bare hosts, at the installation, and later."""
    log = (EPHEMERAL / "ansible.log").read_text(encoding="utf-8")
    assert log.count("PLAY [Set up the wiki]") >= 2
    warnings = [line for line in log.splitlines() if "WARNING]" in line or "DEPRECAT" in line]
    # The site's accounts for its other brokers are in the variables of all hosts.
    assert {line.partition("[WARNING]: ")[2].partition(",")[0] for line in warnings} == {
        "mosquitto_users: role firehose sets this variable itself"
    }
