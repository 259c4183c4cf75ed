# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _names


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("firehose_public_topic", "Did you mean firehose_public_topics?"),
        ("firehose_max_conections", "Did you mean firehose_max_connections?"),
        ("firehose_edge_corehost", "Did you mean firehose_edge_core_host?"),
        ("germqtt_gerrit_hostkeys", "Did you mean germqtt_gerrit_host_keys?"),
        ("mosquitto_user", "Did you mean mosquitto_users?"),
        ("mosquitto_zzzzzzzzzzzzzzzzzz", "If it is your own, give it another prefix."),
    ],
)
def test_a_warning_for_an_unknown_name_suggests_the_nearest(name, remedy):
    (warning,) = _names.unknown_warnings(["firehose_publishers", name, "firehose_edges_at_a_time"])
    assert warning.startswith(f"{name}: ")
    assert warning.endswith(remedy)


def test_all_public_names_are_known(roles):
    names = {name for role in roles.values() for name in role.defaults}
    assert len(names) > 60
    assert _names.unknown_warnings(names) == []


def test_a_default_of_another_role_causes_no_warning():
    replacements = {"mosquitto_users": "Use firehose_publishers."}
    assert _names.replaced_warnings({"mosquitto_users": []}, replacements) == []
    (warning,) = _names.replaced_warnings({"mosquitto_users": [{"name": "x", "password": "hunter2"}]}, replacements)
    assert warning.startswith("mosquitto_users: ")
    assert warning.endswith("Use firehose_publishers.")
    assert "hunter2" not in warning
