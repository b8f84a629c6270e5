# SPDX-License-Identifier: Apache-2.0
"""What every component says of itself, read from its profile."""

import configparser
import re
from pathlib import Path

import pytest

from allotment_recipes.store import ROOT_LENGTH, part_path

ROOT = Path(__file__).parents[2]
PROFILES = sorted(ROOT.glob("components/*/buildout.cfg"))


def section_of(path: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(delimiters=("=",))
    parser.read(path)
    return parser[path.parent.name]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_component_says_what_it_is_and_pins_its_source(path: Path) -> None:
    section = section_of(path)
    for option in ("description", "version", "licence", "purl", "sha256sum"):
        assert section.get(option, "").strip(), f"[{path.parent.name}] {option} is missing"
    assert re.fullmatch(r"[0-9a-f]{64}", section["sha256sum"])
    assert re.fullmatch(r"[a-z0-9.+-]+ \S+ [a-z]+", section["debian-source"])
    assert re.fullmatch(rf"pkg:[a-z]+/[a-z0-9._/-]+@{re.escape(section['version'])}", section["purl"])
    version = section["version"].replace(".2025", "+2025")  # a dated snapshot of ncurses
    assert version in section["debian-source"].replace("~", "."), "the version is not that of the source"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_kernel_reads_the_first_line_of_a_script_that_names_a_program_of_the_component(path: Path) -> None:
    section = section_of(path)
    place = part_path(Path("/" + "s" * (ROOT_LENGTH - 1)), path.parent.name, section["version"], "0" * 64)
    assert len(f"#!{place}/bin/a-program-of-a-component") <= 255


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_an_archive_that_was_packed_anew_has_no_address(path: Path) -> None:
    section = section_of(path)
    assert not (re.search(r"\+(dfsg|ds|really)|\.dfsg", section["debian-source"]) and "url" in section)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_component_extends_what_it_refers_to(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r"\$\{([a-z][a-z0-9-]*):", text)) - {"buildout", path.parent.name}
    assert named <= set(re.findall(r"\.\./([a-z0-9-]+)/buildout\.cfg", text))
