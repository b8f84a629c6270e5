# SPDX-License-Identifier: Apache-2.0
import socket
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment_node.addresses import AddressBlock


def test_a_block_is_chosen_once(scratch: Path) -> None:
    first = AddressBlock(scratch / "a.json")
    first.close()
    second = AddressBlock(scratch / "a.json")
    second.close()
    assert second.address("part0") == first.address("part0")
    assert first.address("part0") == f"{first.block}.1"
    assert first.address("part249") == f"{first.block}.250"


def test_two_nodes_on_a_machine_have_different_blocks(scratch: Path) -> None:
    blocks = [AddressBlock(scratch / f"{number}.json") for number in range(20)]
    assert len({block.block for block in blocks}) == 20
    for block in blocks:
        block.close()


def test_a_copied_folder_is_refused_while_the_original_runs(scratch: Path) -> None:
    first = AddressBlock(scratch / "a.json")
    (scratch / "b.json").write_bytes((scratch / "a.json").read_bytes())
    with pytest.raises(AllotmentError) as error:
        AddressBlock(scratch / "b.json")
    first.close()
    assert str(error.value) == (
        f"the addresses {first.block}.0/24 of {scratch}/b.json are in use by another node on this machine. "
        f"Stop the other node, or remove {scratch}/b.json if this folder is a copy."
    )


def test_a_block_where_something_listens_is_passed_over(scratch: Path) -> None:
    first = AddressBlock(scratch / "a.json")
    first.close()
    (scratch / "a.json").unlink()
    with socket.create_server((first.address("part3"), 0)):  # a service whose agent is down
        second = AddressBlock(scratch / "a.json")
    second.close()
    assert second.block != first.block


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "block": "127.64.0"}', '{"format": 1}'])
def test_a_damaged_file_says_what_to_do(scratch: Path, text: str) -> None:
    (scratch / "a.json").write_text(text)
    with pytest.raises(AllotmentError, match="Remove it; partitions get new addresses"):
        AddressBlock(scratch / "a.json")


def test_each_address_can_be_listened_on(scratch: Path) -> None:
    block = AddressBlock(scratch / "a.json")
    with socket.create_server((block.address("part0"), 0)) as one:
        with socket.create_server((block.address("part1"), one.getsockname()[1])):
            pass
    block.close()
