# SPDX-License-Identifier: Apache-2.0
"""The release manifest: what is built, proved, signed, stored, requested and installed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment.codec import Json, dumps, message

DEFAULT_TYPE = "default"
_ROOT_TYPE = "RootSoftwareInstance"  # what SlapOS's clients call it


def type_names(name: str) -> tuple[str, ...]:
    """Return what a software type may be called: the two names of the default one stand for one another."""
    other = {DEFAULT_TYPE: _ROOT_TYPE, _ROOT_TYPE: DEFAULT_TYPE}.get(name)
    return (name,) if other is None else (name, other)


@dataclass(frozen=True)
class Blob:
    """Bytes in a blob store: the sha256 in hexadecimal is their name, ``size`` is in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class SoftwareType:
    """One kind of instance that a software release offers."""

    title: str
    description: str
    profile: str  # the rendered instance profile, relative to the built software's folder
    parameters: Json  # JSON schema (draft 2020-12) of the request's parameters
    published: Json  # JSON schema of the values that the instance publishes
    shared: bool = False  # whether shared instances are accepted


@dataclass(frozen=True)
class Distribution:
    """A Python distribution that took part in the build: recipes and plugins."""

    name: str
    version: str
    sha256: str  # of its RECORD, or of its sources for an editable install


@message("release-manifest", format=1)
@dataclass(frozen=True)
class ReleaseManifest:
    """A software release, complete: whoever has this and the blob it names can build and deploy it, offline of us."""

    name: str
    profile: str  # software.cfg's place inside the closure
    closure: Blob  # one deterministic archive of every profile, template and schema that the release reads
    software_types: Mapping[str, SoftwareType]
    parts: Mapping[str, Mapping[str, str]]  # platform -> part -> hash of the part's inputs
    distributions: tuple[Distribution, ...] = ()
    licences: tuple[str, ...] = ()  # SPDX identifiers
    compiler: str = ""  # by which compiled parts are known, such as gcc 12.2.0; empty: whatever compiles

    def software_type(self, name: str) -> SoftwareType | None:
        """Return one of the software types, by its own name before another one of it."""
        return next((self.software_types[known] for known in type_names(name) if known in self.software_types), None)

    @property
    def sha256(self) -> str:
        """The manifest's identity: the hash of its canonical JSON, in hexadecimal."""
        return hashlib.sha256(dumps(self)).hexdigest()


@dataclass(frozen=True)
class Signature:
    """A signature over the canonical JSON of a manifest."""

    key: str  # "ed25519:" and the public key's 32 bytes in base64
    value: str  # the signature's 64 bytes in base64


@message("signed-manifest", format=1)
@dataclass(frozen=True)
class SignedManifest:
    """A manifest with the signatures of the farms that proved it; none while it is in development."""

    manifest: ReleaseManifest
    signatures: tuple[Signature, ...] = field(default=())
