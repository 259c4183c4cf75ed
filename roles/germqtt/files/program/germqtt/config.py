# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: that of germqtt 0.1.0, with more options."""

from __future__ import annotations

import configparser
import dataclasses
import pathlib
import re
import typing as t


class ConfigError(Exception):
    """A problem of the local setup, in one line. A retry does not help."""


# Minimum and maximum of numbers.
BOUNDS = {
    "port": (1, 65535),
    "keepalive": (5, 65535),
    "qos": (0, 2),
    "max_payload": (0, 268_435_455),
    "republish_max": (0, 100_000),
    "max_mib": (1, 1_000_000),
    "max_days": (0.0001, 36500),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Default:
    """Options of the process."""

    pidfile: pathlib.Path = pathlib.Path("/var/run/germqtt.pid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gerrit:
    """The Gerrit that the events come from."""

    hostname: str
    port: int = 29418
    username: str
    key: pathlib.Path
    known_hosts: pathlib.Path = pathlib.Path("~/.ssh/known_hosts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mqtt:
    """The broker that the events are published to."""

    hostname: str
    port: int = 1883
    topic: str
    keepalive: int = 60
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: pathlib.Path | None = None
    # Accepted because later versions of germqtt have this option. Events are always published at QoS 1.
    qos: int = 1
    # The largest payload in bytes, where the broker accepts less than it announces. 0 is no limit.
    max_payload: int = 0
    # Maximum number of events that are published again after a crash of the broker. 0: none; lost events stay lost.
    republish_max: int = 1000
    # Also look for an event's project in fields that germqtt 0.1.0 does not read.
    project_topics: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Store:
    """The store where events wait, up to max_mib and max_days. With fsync they also survive a crash of the host."""

    path: pathlib.Path = pathlib.Path("/var/lib/germqtt/events.sqlite")
    max_mib: int = 512
    max_days: float = 7.0
    fsync: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    """All sections of the file."""

    default: Default
    gerrit: Gerrit
    mqtt: Mqtt
    store: Store


class _Interpolation(configparser.BasicInterpolation):
    """Interpolation where a single percent sign is literal. germqtt 0.1.0 exits unless it is doubled."""

    def before_get(self, parser: t.Any, section: str, option: str, value: str, defaults: t.Any) -> str:
        escaped = re.sub(r"%(%|\(\w+\)s)?", lambda found: found[0] if found[1] else "%%", value)
        return super().before_get(parser, section, option, escaped, defaults)


def _bool(text: str) -> bool:
    return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]


def _path(text: str) -> pathlib.Path:
    return pathlib.Path(text).expanduser()


KINDS: dict[str, tuple[t.Callable[[str], t.Any], str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (_bool, "yes or no"),
    "pathlib.Path": (_path, "a path, below a home directory that exists if it starts with ~"),
}


def _value(text: str, field: dataclasses.Field[t.Any]) -> t.Any:
    """Convert an option's text to its value. Raises ValueError, which describes valid values and does not quote the text."""
    if "\0" in text:
        raise ValueError("this has a NUL in it")
    convert, kind = KINDS[str(field.type).removesuffix(" | None")]
    try:
        value = convert(text)
    except (LookupError, RuntimeError, ValueError):
        raise ValueError(f"this has to be {kind}") from None
    if field.name in BOUNDS:
        least, most = BOUNDS[field.name]
        if not least <= value <= most:
            raise ValueError(f"this has to be between {least:g} and {most:g}")
    if text == "" and field.default is dataclasses.MISSING:
        raise ValueError("this must not be empty")
    return value


def _section(path: str, parser: configparser.ConfigParser, name: str, kind: type) -> t.Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = parser.options(name) if parser.has_section(name) else []
    values: dict[str, t.Any] = {}
    for option in given:
        if option not in fields:
            raise ConfigError(f"{path}: [{name}] {option}: there is no such option; there are {', '.join(fields)}")
    for option, field in fields.items():
        place = f"{path}: [{name}] {option}"
        try:
            if option in given:
                values[option] = _value(parser.get(name, option), field)
            elif field.default is dataclasses.MISSING:
                raise ValueError("this option is missing")
            elif isinstance(field.default, pathlib.Path):
                values[option] = _value(str(field.default), field)
        except ValueError as exc:
            raise ConfigError(f"{place}: {exc}") from None
        except configparser.InterpolationError:
            raise ConfigError(f"{place}: '%(...)s' has to name an option of this section") from None
    return kind(**values)


def _topic_problem(topic: str) -> str | None:
    if any(char in topic for char in "+#"):
        return "a topic that is published to has no wildcards"
    if topic.startswith("$"):
        return "topics that start with '$' belong to the broker"
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029" for char in topic):
        return "a topic has no control characters"
    return None


def read(path: str) -> Config:
    """Read the file. Raises ConfigError, which quotes no value."""
    parser = configparser.ConfigParser(interpolation=_Interpolation())
    try:
        with pathlib.Path(path).open(encoding="utf-8") as file:
            parser.read_file(file, path)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc.strerror if isinstance(exc, OSError) else 'this is not UTF-8'}") from None
    except configparser.DuplicateOptionError as exc:
        raise ConfigError(f"{path}: [{exc.section}] {exc.option}: line {exc.lineno} has it a second time") from None
    except configparser.DuplicateSectionError as exc:
        raise ConfigError(f"{path}: [{exc.section}]: line {exc.lineno} has this section a second time") from None
    except configparser.MissingSectionHeaderError as exc:
        raise ConfigError(f"{path}: line {exc.lineno}: there is no section yet") from None
    except configparser.ParsingError as exc:
        raise ConfigError(f"{path}: line {exc.errors[0][0]}: this is neither a section nor an option") from None
    kinds = {field.name: t.get_type_hints(Config)[field.name] for field in dataclasses.fields(Config)}
    for section in parser.sections():
        if section not in kinds:
            raise ConfigError(f"{path}: [{section}]: there is no such section; there are {', '.join(kinds)}")
    config = Config(**{name: _section(path, parser, name, kind) for name, kind in kinds.items()})
    if problem := _topic_problem(config.mqtt.topic):
        raise ConfigError(f"{path}: [mqtt] topic: {problem}")
    if config.mqtt.password and not config.mqtt.username:
        raise ConfigError(f"{path}: [mqtt] password: this needs a username")
    return config
