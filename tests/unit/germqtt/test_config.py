# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file: errors name file, section and option, and do not quote values."""

from __future__ import annotations

import configparser
import pathlib
import typing as t

import pytest
from germqtt import config
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

SECRET = "hunter2"
LEAST = {
    "gerrit": {"username": "germqtt", "hostname": "review.example.org", "key": "/key"},
    "mqtt": {"hostname": "broker.example.org", "topic": "gerrit"},
}


def text(**changed: dict[str, str | None]) -> str:
    """A file with the required options. Options can be changed, or left out with None."""
    sections = {name: LEAST.get(name, {}) | changed.get(name, {}) for name in LEAST | changed}
    return "".join(
        f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items() if value is not None)
        for name, options in sections.items()
    )


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes) -> config.Config:
        path = tmp_path / "germqtt.conf"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return config.read(str(path))

    return read


@pytest.fixture
def problem(read, tmp_path):
    """The error message for a file, without the path."""

    def find(content: str | bytes) -> str:
        with pytest.raises(config.ConfigError) as caught:
            read(content)
        said = str(caught.value)
        assert said.startswith(f"{tmp_path}/germqtt.conf: ")
        assert "\n" not in said
        assert caught.value.__context__ is None or caught.value.__suppress_context__  # the context might show the value
        return said.removeprefix(f"{tmp_path}/germqtt.conf: ")

    return find


def test_a_file_of_germqtt_0_1_0(read, monkeypatch):
    monkeypatch.setenv("HOME", "/home/germqtt")
    found = read(
        text(mqtt={"username": "germqtt", "password": SECRET, "keepalive": "90"}, default={"pidfile": "~/pid"})
    )
    assert found == config.Config(
        default=config.Default(pidfile=pathlib.Path("/home/germqtt/pid")),
        gerrit=config.Gerrit(
            hostname="review.example.org",
            port=29418,
            username="germqtt",
            key=pathlib.Path("/key"),
            known_hosts=pathlib.Path("/home/germqtt/.ssh/known_hosts"),
        ),
        mqtt=config.Mqtt(
            hostname="broker.example.org",
            port=1883,
            topic="gerrit",
            keepalive=90,
            username="germqtt",
            password=SECRET,
            tls=False,
            ca_file=None,
        ),
        store=config.Store(),
    )


def test_all_options(read):
    found = read(
        text(
            gerrit={"port": "22", "known_hosts": "/hosts"},
            mqtt={"port": "8883", "tls": "Yes", "ca_file": "/ca", "max_payload": "262144", "project_topics": "yes"}
            | {"republish_max": "7"},
            store={"path": "/store", "max_mib": "1", "max_days": "0.5", "fsync": "on"},
        )
    )
    assert (found.gerrit.port, found.gerrit.known_hosts) == (22, pathlib.Path("/hosts"))
    assert (found.mqtt.port, found.mqtt.tls, found.mqtt.ca_file) == (8883, True, pathlib.Path("/ca"))
    assert (found.mqtt.max_payload, found.mqtt.project_topics, found.mqtt.republish_max) == (262144, True, 7)
    assert found.store == config.Store(path=pathlib.Path("/store"), max_mib=1, max_days=0.5, fsync=True)


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_the_qos_of_later_versions_of_germqtt_is_accepted(read, qos):
    assert read(text(mqtt={"qos": qos})).mqtt.qos == int(qos)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gerrit": {"hostname": None}}, "[gerrit] hostname: this option is missing"),
        ({"gerrit": {"username": None}}, "[gerrit] username: this option is missing"),
        ({"gerrit": {"key": None}}, "[gerrit] key: this option is missing"),
        ({"mqtt": {"hostname": None}}, "[mqtt] hostname: this option is missing"),
        ({"mqtt": {"topic": None}}, "[mqtt] topic: this option is missing"),
        ({"gerrit": {"hostname": ""}}, "[gerrit] hostname: this must not be empty"),
        ({"gerrit": {"key": ""}}, "[gerrit] key: this must not be empty"),
        ({"mqtt": {"topic": ""}}, "[mqtt] topic: this must not be empty"),
        ({"gerrit": {"port": SECRET}}, "[gerrit] port: this has to be a whole number"),
        ({"gerrit": {"port": ""}}, "[gerrit] port: this has to be a whole number"),
        ({"gerrit": {"port": "0"}}, "[gerrit] port: this has to be between 1 and 65535"),
        ({"mqtt": {"port": "65536"}}, "[mqtt] port: this has to be between 1 and 65535"),
        ({"mqtt": {"port": "1883.0"}}, "[mqtt] port: this has to be a whole number"),
        ({"mqtt": {"keepalive": "4"}}, "[mqtt] keepalive: this has to be between 5 and 65535"),
        ({"mqtt": {"qos": "3"}}, "[mqtt] qos: this has to be between 0 and 2"),
        ({"mqtt": {"qos": "exactly once"}}, "[mqtt] qos: this has to be a whole number"),
        ({"mqtt": {"max_payload": "-1"}}, "[mqtt] max_payload: this has to be between 0 and 2.68435e+08"),
        ({"mqtt": {"republish_max": "-1"}}, "[mqtt] republish_max: this has to be between 0 and 100000"),
        ({"mqtt": {"tls": SECRET}}, "[mqtt] tls: this has to be yes or no"),
        ({"store": {"fsync": "2"}}, "[store] fsync: this has to be yes or no"),
        ({"store": {"max_mib": "0"}}, "[store] max_mib: this has to be between 1 and 1e+06"),
        ({"store": {"max_days": "nan"}}, "[store] max_days: this has to be between 0.0001 and 36500"),
        ({"store": {"max_days": "inf"}}, "[store] max_days: this has to be between 0.0001 and 36500"),
        ({"store": {"max_days": SECRET}}, "[store] max_days: this has to be a number"),
        ({"store": {"path": "~nobody-at-all/x"}}, "[store] path: this has to be a path, below a home"),
        ({"gerrit": {"key": "a\0b"}}, "[gerrit] key: this has a NUL in it"),
        ({"mqtt": {"password": "a\0b"}}, "[mqtt] password: this has a NUL in it"),
        ({"mqtt": {"topic": "a/#"}}, "[mqtt] topic: a topic that is published to has no wildcards"),
        ({"mqtt": {"topic": "a/+/b"}}, "[mqtt] topic: a topic that is published to has no wildcards"),
        ({"mqtt": {"topic": "$SYS"}}, "[mqtt] topic: topics that start with '$' belong to the broker"),
        ({"mqtt": {"topic": "a\n b"}}, "[mqtt] topic: a topic has no control characters"),
        ({"mqtt": {"topic": "a\x85b"}}, "[mqtt] topic: a topic has no control characters"),
        ({"mqtt": {"topic": "a\u2028b"}}, "[mqtt] topic: a topic has no control characters"),
        ({"mqtt": {"password": SECRET}}, "[mqtt] password: this needs a username"),
        ({"mqtt": {SECRET: "x"}}, f"[mqtt] {SECRET}: there is no such option; there are hostname, port, topic,"),
        ({"mqtt": {"user": SECRET}}, "[mqtt] user: there is no such option; there are hostname, port, topic,"),
        ({"nqtt": {"password": SECRET}}, "[nqtt]: there is no such section; there are default, gerrit, mqtt, store"),
        ({"mqtt": {"password": "%(x)s"}}, "[mqtt] password: '%(...)s' has to name an option of this section"),
        ({"mqtt": {"password": "%(password)s"}}, "[mqtt] password: '%(...)s' has to name an option of this section"),
    ],
)
def test_invalid_values(problem, changed, said):
    assert problem(text(**changed)).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "[gerrit] hostname: this option is missing"),
        (f"{SECRET}\n", "line 1: there is no section yet"),
        (f"password = {SECRET}\n", "line 1: there is no section yet"),
        (f"[mqtt]\npassword = {SECRET}\npassword = {SECRET}\n", "[mqtt] password: line 3 has it a second time"),
        ("[mqtt]\n[gerrit]\n[mqtt]\n", "[mqtt]: line 3 has this section a second time"),
        (f"[mqtt]\n{SECRET}\n", "line 2: this is neither a section nor an option"),
        (f"[mqtt]\n= {SECRET}\n", "line 2: this is neither a section nor an option"),
        (f"[mqtt]\n{SECRET}\n {SECRET}\n", "line 2: this is neither a section nor an option"),
        (f"[mqtt\npassword = {SECRET}\n", "line 1: there is no section yet"),
        (f"[mqtt]\npassword = {SECRET}\xe9\n".encode("latin-1"), "this is not UTF-8"),
    ],
)
def test_invalid_files(problem, content, said):
    found = problem(content)
    assert found == said
    assert SECRET not in found


@pytest.mark.parametrize("option", ["hostname", "port", "topic", "keepalive", "username", "password", "tls", "ca_file"])
@pytest.mark.parametrize(
    "value", [f"{SECRET}%(a)s", f"{SECRET}\0", f"{SECRET}#+%(", f"%({SECRET})s"], ids=["a", "b", "c", "d"]
)
def test_no_value_is_quoted(read, option, value):
    try:
        read(text(mqtt={"username": "a", option: value}))
    except config.ConfigError as exc:
        assert SECRET not in str(exc)


def test_unreadable_files(tmp_path):
    for path, why in [(tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(config.ConfigError) as caught:
            config.read(str(path))
        assert str(caught.value) == f"{path}: {why}"


def test_an_unknown_home_directory_is_an_error(read, monkeypatch):
    def no_home(_path: pathlib.Path) -> t.NoReturn:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "expanduser", no_home)
    with pytest.raises(config.ConfigError, match=r"\[default\] pidfile: this has to be a path"):
        read(text(default={"pidfile": "~/pid"}))
    monkeypatch.setattr(pathlib.Path, "expanduser", lambda path: no_home(path) if "~" in str(path) else path)
    with pytest.raises(config.ConfigError, match=r"\[gerrit\] known_hosts: this has to be a path"):
        read(text())


# ---- percent signs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("100%%", "100%"),
        ("100%", "100%"),
        ("%", "%"),
        ("%%", "%"),
        ("%%%", "%%"),
        ("%%%%", "%%"),
        ("a%b%c", "a%b%c"),
        ("%%(username)s", "%(username)s"),
        ("%(username)s", "germqtt"),
        ("%(username)", "%(username)"),
        ("%s", "%s"),
        ("${username}", "${username}"),
        ("# ; = : é 日", "# ; = : é 日"),
    ],
)
def test_percent_signs(read, written, meant):
    assert read(text(mqtt={"username": "germqtt", "password": written})).mqtt.password == meant


VALUES = st.text(st.sampled_from("%()sa ") | st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES.map(str.strip))
@example(value="%(username)s")
def test_values_that_the_role_writes_are_read_correctly(read, value):
    """The template of the role writes each percent sign twice."""
    assert read(text(mqtt={"username": "a", "password": value.replace("%", "%%")})).mqtt.password == value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES.map(str.strip))
def test_values_are_read_as_by_germqtt_0_1_0(read, value):
    content = text(mqtt={"username": "a", "password": value})
    parser = configparser.ConfigParser()
    parser.read_string(content)
    try:
        expected = parser.get("mqtt", "password")
    except configparser.InterpolationError:
        assume(False)
    assert read(content).mqtt.password == expected
