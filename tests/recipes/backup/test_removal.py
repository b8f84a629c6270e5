# SPDX-License-Identifier: Apache-2.0
"""What stays when sections of the recipes ``backup.*`` go."""

from pathlib import Path
from typing import Any

PROFILE = """\
    [buildout]
    parts = key export pull import push queue takeover

    [server]
    host = 127.0.0.1
    port = 2222
    authorized-keys = ${{key:public-key}}
    sshd-binary = /usr/sbin/sshd
    keygen-binary = {ssh-keygen}
    rsync-binary = {rsync}

    [client]
    host = 127.0.0.1
    port = 2222
    key-file = ${{key:key-file}}
    ssh-binary = {ssh}
    rsync-binary = {rsync}

    [key]
    recipe = allotment.recipes:backup.ssh-keys
    keygen-binary = {ssh-keygen}
    authorized-keys = ${{:public-key-of-another}}
    public-key-of-another = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{zeros}
    command = /bin/true

    [export]
    <= server
    recipe = allotment.recipes:backup.export
    commands = touch one

    [pull]
    <= client
    recipe = allotment.recipes:backup.pull
    user = ${{export:user}}
    host-key = ${{export:host-key}}

    [import]
    <= server
    recipe = allotment.recipes:backup.import
    commands = true

    [push]
    <= client
    recipe = allotment.recipes:backup.push
    generations = ${{pull:folder}}
    user = ${{import:user}}
    host-key = ${{import:host-key}}

    [queue]
    recipe = allotment.recipes:backup.queue
    callback-push = ${{buildout:directory}}/bin/push

    [takeover]
    recipe = allotment.recipes:backup.takeover
    import-folder = ${{import:folder}}
"""
KEYS = ["etc/export/host_key", "etc/import/host_key", "etc/ssh/key"]
DATA = ["srv/export/data", "srv/import/data", "srv/pull/data", "var/push/data", "var/queue/data"]


def test_keys_and_data_stay_and_all_else_goes(partition: Any, tools: dict[str, str]) -> None:
    partition.run_twice(PROFILE.format(**tools, zeros="A" * 43))
    for name in DATA:
        file = Path(partition.folder, name)
        file.parent.mkdir(parents=True)
        file.touch()
    private = "".join(partition.text(name).splitlines()[2] for name in KEYS)
    assert not any(line in partition.text(".installed.cfg") for line in private.split())
    partition.remove("queue", "takeover", "push", "import", "pull", "export", "key")
    assert sorted(name for name in partition.files() if not name.startswith(".")) == KEYS + DATA
