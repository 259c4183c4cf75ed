# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade from an earlier version: its effects on clients, and leftovers. The order of the tests is the order of the runs."""

from __future__ import annotations

import re
import socket
import subprocess
import typing as t
import uuid

import pytest
from firehose_testing.clients import QOS1, Account, PahoSubscriber, Way, publish
from firehose_testing.fixtures import Firehose, Firehoses, names_of
from firehose_testing.hostile import packets
from firehose_testing.runs import Run
from firehose_testing.upgrade import ACCOUNT, EARLIER_FILES, KEPT, Earlier, Gaps, Upgrade, has_session
from firehose_testing.waiting import wait_until

# In seconds. At a core host with public brokers, the ports move from a public broker to HAProxy.
LONGEST_GAP = 5
# Elsewhere the brokers restart without the public ports, or HAProxy's former brokers get other ports, before HAProxy
# starts.
LONGEST_GAP_ELSEWHERE = 10
# For a host where nothing changes
NO_GAP = 2


def check_events(core: Firehose, host: Firehose, way: Way) -> None:
    """A new subscriber gets the retained message from before the upgrade, and a new event."""
    payload = str(uuid.uuid4())
    with PahoSubscriber(host.address, way) as subscriber:
        subscriber.wait_for(topic=KEPT, payload="kept")
        publish(core.address, core.publishers["ci"], ACCOUNT, QOS1, {"ci/now": payload})
        subscriber.wait_for(payload=payload)


def test_only_the_broken_host_fails(first: Upgrade[subprocess.CompletedProcess[str]], broken: Firehose) -> None:
    assert first.run.returncode == 2, first.run.stdout
    assert "'systemctl restart firehose-haproxy.service' failed. Its last log lines:" in first.run.stdout
    assert set(re.findall(r"^(\S+) +: .* failed=[1-9]", first.run.stdout, re.MULTILINE)) == {broken.name}


def test_the_broken_host_serves_with_its_earlier_broker(
    first: t.Any, broken: Firehose, ways: dict[str, list[Way]]
) -> None:
    for way in ways[broken.name]:
        check_events(broken, broken, way)
    assert broken.host.check_output("systemctl is-active mosquitto@public.service") == "active"
    assert broken.host.check_output("systemctl is-enabled mosquitto@public.service") == "enabled"
    assert broken.host.run("systemctl is-active firehose-haproxy.socket").stdout.strip() == "inactive"


def too_long(gaps: Gaps, longest: t.Callable[[str], float]) -> Gaps:
    """The gaps that are longer than the host's limit."""
    return {(name, port): seconds for (name, port), seconds in gaps.items() if seconds > longest(name)}


def test_the_ports_are_closed_only_for_a_short_time(
    first: Upgrade[t.Any], firehoses: Firehoses, broken: Firehose
) -> None:
    cores = {*names_of("from_778a966")} & {*firehoses}
    gaps = {key: seconds for key, seconds in first.gaps.items() if key[0] != broken.name}
    assert too_long(gaps, lambda name: LONGEST_GAP if name in cores else LONGEST_GAP_ELSEWHERE) == {}


def test_the_second_run_changes_only_the_broken_host(second: Upgrade[Run], broken: Firehose) -> None:
    assert {name for name, tasks in second.run.changed.items() if tasks} == {broken.name}


def test_the_second_run_closes_ports_only_at_the_broken_host(second: Upgrade[Run], broken: Firehose) -> None:
    assert too_long(second.gaps, lambda name: LONGEST_GAP if name == broken.name else NO_GAP) == {}


@pytest.mark.usefixtures("second")
def test_no_files_or_units_of_earlier_versions_are_left(everywhere: Firehoses, earlier: Earlier) -> None:
    assert {name for name, files in earlier.files.items() if files} == {*names_of("from_778a966")}
    assert everywhere.each(lambda host: host.host.check_output(EARLIER_FILES)) == dict.fromkeys(everywhere, "")
    units = "systemctl list-units --all --plain --no-legend mosquitto@public.service firehose-edge.service"
    assert everywhere.each(lambda host: host.host.check_output(units)) == dict.fromkeys(everywhere, "")


@pytest.mark.usefixtures("second")
def test_the_session_of_the_earlier_public_broker_is_gone(firehoses: Firehoses, earlier: Earlier) -> None:
    found = {name: has_session(firehoses[name], client_id) for name, client_id in earlier.client_ids.items()}
    assert found == dict.fromkeys(earlier.client_ids, False)


@pytest.mark.usefixtures("second")
def test_new_subscribers_get_retained_messages_and_events(
    firehoses: Firehoses, everywhere: Firehoses, ways: dict[str, list[Way]], broken: Firehose
) -> None:
    [edge_core] = [firehoses[name] for name in {*names_of("from_778a966")} & {*firehoses} - {broken.name}]
    for name, host in everywhere.items():
        for way in ways[name]:
            check_events(firehoses.get(name, edge_core), host, way)


@pytest.mark.usefixtures("second")
def test_a_reader_gets_all_acknowledged_events(earlier: Earlier, name: str) -> None:
    """Events from before and during the upgrade."""
    reader = earlier.readers[name]
    numbers = {str(number) for number in earlier.acknowledged[name]}
    with reader.connected(ACCOUNT):
        wait_until(lambda: numbers <= {payload.split()[0] for payload in reader.payloads}, "all events have come")
    assert reader.returns == 1


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    "account", [Account(), Account("ci"), Account("ci", "wrong")], ids=["anonymous", "no-password", "wrong-password"]
)
def test_accounts_need_their_passwords(firehoses: Firehoses, name: str, account: Account) -> None:
    with (
        pytest.raises(ConnectionError, match="a refusal"),
        PahoSubscriber(firehoses[name].address, ACCOUNT, account=account),
    ):
        pass


@pytest.mark.usefixtures("second")
def test_an_operator_finds_publishers_that_still_use_port_1883(firehoses: Firehoses, name: str) -> None:
    firehose = firehoses[name]
    account = firehose.publishers["ci"]
    with socket.create_connection((firehose.address, 1883), 10) as connection:
        source = ":".join(map(str, connection.getsockname()))
        connection.sendall(packets.connect(packets.V3, "late", username=account.name, password=account.password))
        assert connection.recv(4) in (bytes([0x20, 2, 0, 5]), b"")
    journal = "journalctl --unit firehose-haproxy.service --no-pager --output cat | grep --fixed-strings %s | grep 'port 1883.*username \"ci\"'"
    wait_until(lambda: firehose.host.run(journal, source).rc == 0, "the journal has its address and username")
