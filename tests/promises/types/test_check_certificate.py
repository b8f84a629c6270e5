# SPDX-License-Identifier: Apache-2.0
import base64
import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment_promises import Measurement

Measure = Callable[..., Measurement]
Issue = Callable[..., trustme.LeafCert]


@pytest.fixture
def issue(authority: trustme.CA, tmp_path: Path) -> Issue:
    """Write ``<name>.pem`` and ``<name>.key``, valid from and until so many days from now."""

    def make(name: str, until: float, since: float = -1.0) -> trustme.LeafCert:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        made = authority.issue_cert(f"{name}.example", not_before=now + since * day, not_after=now + until * day)
        made.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        return made

    return make


def test_a_certificate_that_is_valid_long_enough_passes(measure: Measure, issue: Issue) -> None:
    issue("good", 20)
    measured = measure("check_certificate", certificate="good.pem", key="good.key")
    assert measured.is_passed
    assert measured.message.startswith("good.pem is valid until ")
    metric = measured.metrics["expires_in"]
    assert (metric.unit, metric.value) == ("s", pytest.approx(20 * 86400, abs=600))


def test_one_that_expires_soon_or_has_expired_or_is_not_valid_yet_fails(measure: Measure, issue: Issue) -> None:
    issue("soon", 10)
    soon = measure("check_certificate", certificate="soon.pem")
    assert not soon.is_passed
    assert soon.message.endswith("expires in 10.0 days, expected at least 15")
    assert measure("check_certificate", certificate="soon.pem", certificate_expiration_days="9.5").is_passed
    issue("old", -3, -30)
    old = measure("check_certificate", certificate="old.pem", certificate_expiration_days=0)
    assert old.message.endswith(" expired 3.0 days ago")
    assert old.metrics["expires_in"].value < 0
    issue("new", 50, 1)
    assert " is valid only from " in measure("check_certificate", certificate="new.pem").message


def test_each_certificate_of_the_chain_counts(measure: Measure, issue: Issue, tmp_path: Path) -> None:
    issue("leaf", 100)
    issue("between", -1, -9)
    chain = (tmp_path / "leaf.pem").read_bytes() + (tmp_path / "between.pem").read_bytes()
    (tmp_path / "chain.pem").write_bytes(chain)
    assert " expired 1.0 days ago" in measure("check_certificate", certificate="chain.pem").message


def test_the_key_must_belong_to_it(measure: Measure, issue: Issue, tmp_path: Path) -> None:
    made = issue("one", 100)
    issue("other", 100)
    made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    assert measure("check_certificate", certificate="both.pem", key="both.pem").is_passed
    wrong = measure("check_certificate", certificate="one.pem", key="other.key")
    assert (wrong.is_passed, wrong.message) == (False, "one.pem: the key other.key belongs to another certificate")
    missing = measure("check_certificate", certificate="one.pem", key="none.key")
    assert missing.message == "one.pem: its key none.key can't be read: No such file or directory"
    key = load_key((tmp_path / "one.key").read_bytes(), None)
    form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"planted")
    (tmp_path / "locked.key").write_bytes(key.private_bytes(*form))
    locked = measure("check_certificate", certificate="one.pem", key="locked.key")
    assert locked.message.startswith("one.pem: locked.key holds no key that can be used: ")


def test_a_file_that_is_missing_or_holds_none_fails(measure: Measure, issue: Issue, tmp_path: Path) -> None:
    missing = measure("check_certificate", certificate="none.pem")
    assert missing == Measurement.failed("none.pem can't be read: No such file or directory")
    issue("one", 100)
    assert measure("check_certificate", certificate="one.key").message.startswith(
        "one.key holds no certificate that can be read: "
    )


def test_a_certificate_that_is_wrong_inside_fails(measure: Measure, authority: trustme.CA, tmp_path: Path) -> None:
    lines = authority.cert_pem.bytes().splitlines()
    data = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    issuer = data.index(b"trustme")
    data[data.index(b"trustme", issuer + 1) - 2] = 0x03  # the subject's name says that it is a string of bits
    (tmp_path / "wrong.pem").write_bytes(b"\n".join((lines[0], base64.b64encode(data), lines[-1])))
    measured = measure("check_certificate", certificate="wrong.pem")
    assert not measured.is_passed
    assert measured.message.startswith("wrong.pem holds no certificate that can be read: oid must be")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_content_of_the_file_is_an_exception(
    measure: Measure, tmp_path: Path, authority: trustme.CA, noise: bytes, place: int
) -> None:
    data = authority.cert_pem.bytes()
    (tmp_path / "noise.pem").write_bytes(data[:place] + noise + data[place + len(noise) :])
    assert isinstance(measure("check_certificate", certificate="noise.pem", key="noise.pem").is_passed, bool)
