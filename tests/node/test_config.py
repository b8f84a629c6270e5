# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment.options import Lines
from allotment_node.config import NodeConfig, binary_caches, dump, load, trusted_keys

GOOD = 'format = 1\nname = "node-1"\nmasters = ["http://127.0.0.1:1"]\n'


def test_what_is_written_is_what_is_read(scratch: Path) -> None:
    config = NodeConfig(
        name="node-1",
        masters=Lines(("http://127.0.0.1:1", "https://b.example")),
        services="attached",
        trust=Lines(('a "quoted" path',)),
        allow_development=True,
        settle=2.5,
    )
    path = scratch / "node.toml"
    path.write_text(dump(config))
    assert load(path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "partition = 3\n", "partition: unknown option. Did you mean 'partitions'? Valid: "),
        (GOOD + 'partitions = "many"\n', "partitions: 'many' is not a whole number. Write it like 8080."),
        (GOOD + "partitions = 251\n", "partitions: 251 is too few or too many. 1 to 250."),
        (GOOD + "promise-memory = 8\n", "promise-memory: 8 MiB is too little. At least 16."),
        (GOOD + 'services = "loose"\n', "services: 'loose' is not one of its values. "),
        (GOOD.replace("node-1", "Node 1"), "name: 'Node 1' is not a node's name. Use a-z, 0-9, '-' and '.'."),
        (GOOD.replace('"http://127.0.0.1:1"', ""), 'masters: is empty. Write it like ["https://master.example"].'),
        (GOOD + 'limits = ["nofiles=1"]\n', "limits: unknown limit 'nofiles'. Did you mean 'nofile'? Valid: "),
        (GOOD + 'limits = ["nofile"]\n', "limits: 'nofile' has no whole number. Write it like nofile=1024."),
        ("format = 1\n", "name: missing option. Add 'name = ...'."),
        (GOOD.replace("format = 1", "format = 2"), " has format 2; this version reads format 1. Write format = 1."),
        ("name = \n", " is not TOML: "),
    ],
)
def test_a_mistake_names_the_file_the_option_and_the_fix(scratch: Path, text: str, message: str) -> None:
    path = scratch / "node.toml"
    path.write_text(text)
    with pytest.raises(AllotmentError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_folder_without_configuration_says_how_to_register(scratch: Path) -> None:
    with pytest.raises(AllotmentError) as error:
        load(scratch / "node.toml")
    assert str(error.value) == (
        f"{scratch}/node.toml does not exist. Register this node first: "
        f"allot node register --folder {scratch} --name NAME --master URL."
    )


def test_trusted_keys_are_read_with_comments(scratch: Path) -> None:
    key = "ed25519:" + "A" * 43 + "="
    (scratch / "keys").write_text(f"# the farm\n{key}  # since 2026\n\n")
    config = NodeConfig("n", Lines(("http://127.0.0.1:1",)), trust=Lines(("keys",)))
    assert trusted_keys(config, scratch) == (key,)
    (scratch / "keys").write_text("rsa:AAAA\n")
    with pytest.raises(AllotmentError) as error:
        trusted_keys(config, scratch)
    assert str(error.value) == f"{scratch}/keys line 1 is not a public key. Write it like ed25519:<base64>."
    (scratch / "keys").unlink()
    with pytest.raises(AllotmentError, match=r"trust: .*/keys can't be read: No such file or directory"):
        trusted_keys(config, scratch)


def test_binary_caches_come_with_the_keys_that_are_trusted_for_them(scratch: Path) -> None:
    key = "ed25519:" + "A" * 43 + "="
    (scratch / "builders").write_text(f"{key}  # the farm\n")
    masters, urls = Lines(("http://127.0.0.1:1",)), Lines(("https://cache.example", "parts"))
    config = NodeConfig("n", masters, binary_caches=urls, cache_trust=Lines(("builders",)))
    assert binary_caches(config, scratch) == (
        {"url": "https://cache.example", "keys": [key]},
        {"url": f"{scratch}/parts", "keys": [key]},
    )
    (scratch / "builders").unlink()
    with pytest.raises(AllotmentError, match=r"cache-trust: .*/builders can't be read: No such file or directory"):
        binary_caches(config, scratch)


def test_a_binary_cache_without_trusted_keys_is_refused(scratch: Path) -> None:
    (scratch / "node.toml").write_text(
        'format = 1\nname = "n"\nmasters = ["http://127.0.0.1:1"]\nbinary-caches = ["https://cache.example"]\n'
    )
    with pytest.raises(AllotmentError) as error:
        load(scratch / "node.toml")
    assert str(error.value) == (
        f"{scratch}/node.toml: cache-trust: is empty, and binary-caches is not. Name files with trusted keys."
    )
