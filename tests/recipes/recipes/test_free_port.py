# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.recipes.free_port import Options, Recipe

Make = Callable[..., Any]
# Tests in other processes try the same ports at the same time: each has an address of its own.
OWN = f"127.{64 + (os.getpid() >> 16) % 64}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Somebody who listens: the address and the port."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((request.param, 0))
        server.listen()
        yield request.param, server.getsockname()[1]


def test_a_port_that_somebody_has_is_skipped(make_recipe: Make, listener: tuple[str, int]) -> None:
    ip, taken = listener
    highest = min(taken + 50, 65535)
    recipe = make_recipe(Recipe, {"ip": ip, "minimum": str(taken), "maximum": str(highest)})
    assert taken < int(recipe.raw["port"]) <= highest


def test_without_a_free_port_it_says_so(make_recipe: Make, listener: tuple[str, int]) -> None:
    ip, taken = listener
    with pytest.raises(AllotmentError) as caught:
        make_recipe(Recipe, {"ip": ip, "minimum": str(taken), "maximum": str(taken)})
    assert str(caught.value) == (f"[part] maximum: no port of {ip} from {taken} to {taken} is free. Widen the range.")


PROFILE = """\
    [buildout]
    parts = {parts}
    [one]
    recipe = allotment.recipes:free-port
    ip = {ip}
    minimum = {minimum}
    [two]
    <= one
    [publish]
    recipe = allotment.recipes:publish
    {values}
    """


def process(partition: Any, *sections: str, ip: str = OWN, minimum: int = 20000) -> list[int]:
    values = "\n    ".join(f"{name} = ${{{name}:port}}" for name in sections)
    result = partition.run(PROFILE.format(parts="publish", ip=ip, minimum=minimum, values=values))
    assert result.error == ""
    return [int(partition.published.values[name]) for name in sections]


def test_a_port_is_kept_also_when_its_service_listens(partition: Any) -> None:
    (port,) = process(partition, "one")
    with socket.socket() as service:
        service.bind((OWN, port))
        service.listen()
        assert process(partition, "one") == [port]
    assert process(partition, "one", minimum=port + 1) != [port]


def test_two_sections_never_choose_the_same(partition: Any) -> None:
    first, second = process(partition, "one", "two")
    assert first != second
    assert process(partition, "two", "one") == [second, first]
    (partition.folder / ".allotment/parts/one.port").unlink()
    again, kept = process(partition, "one", "two")
    assert (kept, again) == (second, first), "the lowest again, but not the one that another keeps"
    (partition.folder / ".allotment/parts/two.port").write_text(f"{OWN} {first}\n")
    assert len(set(process(partition, "one", "two"))) == 2


def test_another_address_has_another_port(partition: Any) -> None:
    process(partition, "one")
    kept = partition.folder / ".allotment/parts/one.port"
    process(partition, "one", ip="127.0.0.2")
    assert kept.read_text().startswith("127.0.0.2 ")


def test_the_choice_goes_with_its_section_but_not_from_a_file(partition: Any) -> None:
    process(partition, "one")
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / ".allotment/parts/one.port").exists()
    profile = PROFILE.format(parts="one", ip=OWN, minimum=20000, values="").replace(
        "[two]", "storage-path = etc/port\n    [two]"
    )
    assert partition.run(profile).error == ""
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert partition.text("etc/port").startswith(f"{OWN} ")


def test_a_damaged_file_is_made_anew(make_recipe: Make, tmp_path: Path) -> None:
    for data in (b"", b"\xff", b"127.0.0.1", b"127.0.0.1 many", b"127.0.0.1 " + b"9" * 4000, b"127.0.0.1 99999999999"):
        (tmp_path / "kept").write_bytes(data)
        assert make_recipe(Recipe, {"ip": "127.0.0.1", "storage-path": "kept"}).value.isdigit()


def test_a_port_that_is_given_is_kept(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(Recipe, {"ip": "127.0.0.1", "port": "2000", "storage-path": "kept"}).install()
    assert (tmp_path / "kept").read_text() == "127.0.0.1 2000\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] ip: missing option. Add 'ip = ...'."),
        ({"ip": "localhost"}, "[part] ip: 'localhost' is not an IP address. Write one of this machine."),
        ({"ip": "203.0.113.7"}, "[part] ip: 203.0.113.7: Cannot assign requested address. Write an address of this machine."),
        ({"ip": "127.0.0.1", "minimum": "0"}, "[part] minimum: 0 is not a port. Write 1 to 65535."),
        ({"ip": "127.0.0.1", "maximum": "65536"}, "[part] maximum: 65536 is not a port."),
        ({"ip": "127.0.0.1", "minimum": "9", "maximum": "8"}, "[part] maximum: 8 is less than minimum, 9."),
        ({"ip": "127.0.0.1", "port": "80"}, "[part] port: '80' is not a port from 1024 to 65535."),
        ({"ip": "127.0.0.1", "port": "9" * 5000}, "[part] port: '999"),
        ({"ip": "127.0.0.1", "prot": "1"}, "[part] prot: unknown option. Did you mean 'port'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(Recipe, options)


@given(st.text())
def test_any_text_is_a_port_or_none(text: str) -> None:
    recipe = object.__new__(Recipe)
    recipe.options = Options(ip="127.0.0.1")
    assert recipe.problem(text) or 1024 <= int(text) <= 65535
