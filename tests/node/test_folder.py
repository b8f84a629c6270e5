# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment.errors import AllotmentError
from allotment_node.folder import NodeFolder, remove_tree


def test_nobody_else_may_look_into_the_folder(node_folder: NodeFolder) -> None:
    assert {path.stat().st_mode & 0o777 for path in (node_folder.root, *node_folder.root.iterdir())} == {0o700}


@pytest.mark.parametrize("name", ["50%", "a#b", 'say "hi"', "a;b"])
def test_a_path_that_supervisord_can_t_read_is_refused(scratch: Path, name: str) -> None:
    with pytest.raises(AllotmentError, match=r"in its path\. Choose another folder"):
        NodeFolder(scratch / name)


def test_a_tree_goes_with_read_only_folders_and_links_are_not_followed(scratch: Path) -> None:
    kept = scratch / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    tree = scratch / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "link").symlink_to(kept)
    (tree / "a" / "b").chmod(0)
    (tree / "a").chmod(0o500)
    tree.chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    assert (kept / "file").exists()
    (scratch / "link").symlink_to(kept)
    remove_tree(scratch / "link")
    assert (kept / "file").exists()
    remove_tree(scratch / "nothing")
