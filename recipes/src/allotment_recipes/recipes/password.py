# SPDX-License-Identifier: Apache-2.0
"""Recipe ``password``: a password that is made once and stays on the node."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited
from allotment.errors import nearest
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.references import variables_of

_LIMIT: Final = 4096  # bytes of the file
_FEWEST, _MOST = 8, 1024  # random bytes
_HASH: Final = "passwd-"


@dataclass(frozen=True)
class Options:
    file: Path | None = None  # where the password is kept, readable by its owner only; default: in parts-directory
    storage_path: Path | None = None  # SlapOS's name of file
    bytes: int = 20  # how many random bytes; they are written in hexadecimal, so that no program needs quotes
    create_once: bool = True  # the file is data and outlives its section; false: it goes with the section
    given: Secret | None = None  # used instead, unless empty; the file stays as it is
    passwd: Secret | None = None  # used and kept in the file, such as what publish-early gives back


class Recipe(GenericBaseRecipe[Options]):
    """Keep a random password in a file; others refer to it, or to the given one, as ``${section:password}``.

    ``passwd`` is the same, ``storage-path`` is the file. ``passwd-<scheme>`` is a hash as servers read it, computed
    where it is referred to: ``sha256_crypt``, ``sha512_crypt``, ``bcrypt``, ``pbkdf2_sha256``, ``pbkdf2_sha512``,
    ``ldap_salted_sha1``, ``ldap_salted_sha256``, ``ldap_salted_sha512``. Whoever removes the file gets another password
    at the next processing.
    """

    def prepare(self) -> None:
        options = self.options
        if options.file is not None and options.storage_path is not None:
            raise OptionProblem("storage-path", "is another name of file, which is there too", "Write one of them")
        if not _FEWEST <= options.bytes <= _MOST:
            raise OptionProblem(
                "bytes", f"{options.bytes} is not from {_FEWEST} to {_MOST}", f"Write {_FEWEST} or more"
            )
        parts = self.path(self.buildout["buildout"].get("parts-directory", "parts"))
        self.file = self.path(options.file or options.storage_path or parts / self.name)
        self.given = options.given.reveal() if options.given is not None else ""
        kept = options.passwd.reveal() if options.passwd is not None else ""
        self.password = self.given or self._usable(kept) or self._kept() or secrets.token_hex(options.bytes)
        token = self.run.tokens.token(Secret(self.password))
        for option, text in (("password", token), ("passwd", token), ("storage-path", str(self.file))):
            self.publish_option(option, text)
        for option in sorted(variables_of(self.buildout, self.name, self.raw)):
            if option.startswith(_HASH):
                self._publish_hash(option)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options.get("storage-path") or options["file"]]

    def install(self) -> list[Path]:
        """Write the password, also when it is there: then only its permissions may change."""
        if self.given:
            return []
        path = self.write(self.file, f"{self.password}\n", private=True)
        return [] if self.options.create_once else [path]

    def _publish_hash(self, option: str) -> None:
        from allotment_recipes.password_hashes import hashed, schemes

        scheme = option.removeprefix(_HASH).replace("-", "_")
        if scheme not in schemes():
            raise OptionProblem(option, f"'{scheme}' is no scheme of hashes", nearest(scheme, schemes()))
        seed = self.run.tokens.derived(f"{option} {self.password}")
        self.publish_option(option, self.run.tokens.token(Secret(hashed(scheme, self.password, seed))))

    @staticmethod
    def _usable(text: str) -> str:
        if not text.isprintable() or text != text.strip():
            raise OptionProblem("passwd", "can't be kept in one line of a file", "Use printable characters only")
        return text

    def _kept(self) -> str:
        """Return the password that was made before, or nothing."""
        data = read_limited(self.file, _LIMIT)
        if data is None:
            return ""
        try:
            text = data.decode().strip()
        except UnicodeDecodeError:
            text = ""
        if not text or not text.isprintable():
            option = "file" if self.options.storage_path is None else "storage-path"
            raise OptionProblem(option, f"{self.file} holds no password", "Remove it for a new one, or write one line")
        return text
