# SPDX-License-Identifier: Apache-2.0
"""SlapOS's authority of a partition: here each section that needs a certificate signs it, and no service runs."""

import re
from pathlib import PurePosixPath
from typing import Final

from allotment_recipes.aliases import Alias

_NO_SERVICE: Final = dict.fromkeys(
    (
        *("requests-directory", "ca-private", "ca-certs", "ca-newcerts", "ca-crl", "openssl-binary"),
        *("country-code", "email", "state", "city", "company", "organization-name"),
    ),
    "each section with a certificate has it signed by the key in ca-dir",
)
_HOST: Final = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.:]*[A-Za-z0-9_])?")
_LONGEST: Final = 64  # characters of a subject's name
_FILE: Final = "cacert.pem"  # the authority's certificate, as others look for it


def _authority(options: dict[str, str]) -> None:
    """Give the authority's certificate the name that it has there; the file comes with the first that it signs."""
    folder = options.pop("ca-dir", "")
    options["target-directory"] = folder
    options["link-binary"] = f"{_FILE} = {PurePosixPath(folder, 'ca.crt')}"


def _request(options: dict[str, str]) -> None:
    """Take ``name`` for the subject, and two contents in place of the authority."""
    for option in ("cert-content", "key-content"):
        if not options.get(option, "").strip():
            options.pop(option, None)
    if "cert-content" in options and "key-content" in options:
        options.pop("ca-path", None)
    if not options.get("executable", "").strip():
        options.pop("executable", None)
        options.pop("wrapper", None)  # the authority's own, of a section that is extended
    name = options.pop("name", "").strip()
    if name:
        options["common-name"] = name[:_LONGEST]
        if not _HOST.fullmatch(name):
            options["names"] = "localhost"


CERTIFICATE_AUTHORITY: Final = Alias(
    "symlink", dropped={**_NO_SERVICE, "wrapper": "no service is needed"}, convert=_authority
)
CERTIFICATE_REQUEST: Final = Alias(
    "ca.certificate", renamed={"ca-dir": "ca-path"}, dropped=_NO_SERVICE, convert=_request
)
