# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from allotment_node.logs import with_tail


def test_a_long_error_is_cut_without_leaving_half_a_secret(tmp_path: Path) -> None:
    text = with_tail("x" * 3995 + "s3cr3t-planted" + "y" * 100, tmp_path / "none.log", ["s3cr3t-planted"])
    assert "s3cr3" not in text
    assert text.endswith(" [cut]")
    assert len(text) < 4100


def test_what_a_program_printed_is_shown_as_text(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\0two\x1b[0m\xff\n\tthree\n")
    assert with_tail("failed", log) == "failed\na.log ends with:\none�two�[0m�\n\tthree"
