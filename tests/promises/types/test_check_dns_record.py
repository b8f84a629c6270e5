# SPDX-License-Identifier: Apache-2.0

import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
ZONE = {
    ("web.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("web.example.", "AAAA"): ["2001:db8::1"],
    ("www.example.", "CNAME"): ["web.example."],
    ("example.", "MX"): ["10 Mail.example."],
    ("example.", "TXT"): ['"v=spf1 -all"', '"two" " parts"'],
}


class Handler(socketserver.BaseRequestHandler):
    """A name server of ``ZONE``."""

    def handle(self) -> None:
        data, connection = self.request
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        (question,) = query.question
        name, type = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        if name == "silent.example.":
            return
        alias = ZONE.get((name, "CNAME"), [""])[0]
        for owner, kind in ((name, "CNAME"), (name, type), (alias, type)):
            if (owner, kind) in ZONE and not any(
                item.match(item.name, 1, getattr(dns.rdatatype, kind), 0) for item in answer.answer
            ):
                answer.answer.append(dns.rrset.from_text(owner, 300, "IN", kind, *ZONE[owner, kind]))
        if all(owner != name for owner, _ in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        connection.sendto(answer.to_wire(), self.client_address)


@pytest.fixture
def check(measure: Measure) -> Iterator[Callable[..., Measurement]]:
    with socketserver.UDPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        where = {"resolver": "127.0.0.1", "port": server.server_address[1]}
        yield lambda name, **options: measure("check_dns_record", name=name, **{**where, **options})
        server.shutdown()
        thread.join(10)


def test_expected_records_pass(check: Measure) -> None:
    measured = check("web.example", expected="192.0.2.2")
    assert (measured.is_passed, measured.message) == (True, "A of web.example: 192.0.2.1, 192.0.2.2")
    assert measured.metrics["records"].value == 2
    assert (measured.metrics["ttl"].value, measured.metrics["ttl"].unit) == (300, "s")
    assert check("web.example.").is_passed
    assert check("WEB.example", expected="192.0.2.2\n192.0.2.1", exact=True).is_passed


def test_other_records_fail(check: Measure) -> None:
    other = check("web.example", expected="192.0.2.3\n192.0.2.1")
    assert (other.is_passed, other.message) == (
        False,
        "A of web.example: 192.0.2.1, 192.0.2.2, expected 192.0.2.1, 192.0.2.3",
    )
    more = check("web.example", expected="192.0.2.1", exact="true")
    assert more.message.endswith(", expected exactly 192.0.2.1")


def test_records_of_each_type_are_compared_by_what_they_mean(check: Measure) -> None:
    assert check("web.example", type="AAAA", expected="2001:0DB8:0::1").is_passed
    assert check("www.example", type="CNAME", expected="WEB.example").is_passed
    assert check("www.example", expected="192.0.2.1").is_passed, "aliases are followed"
    assert check("example", type="MX", expected="10 mail.example.").is_passed
    assert not check("example", type="MX", expected="20 mail.example.").is_passed
    assert check("example", type="TXT", expected="v=spf1 -all\ntwo parts", exact=True).is_passed


def test_a_name_without_record_fails(check: Measure) -> None:
    assert check("gone.example") == Measurement.failed("A of gone.example: there is no such name")
    assert check("example", type="AAAA") == Measurement.failed("AAAA of example: the name has none")


def test_a_name_server_that_does_not_answer_fails(check: Measure) -> None:
    silent = check("silent.example", timeout=0.3)
    assert not silent.is_passed
    assert "127.0.0.1" in silent.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a..b"}, "name: 'a..b' is no domain name: "),
        ({"name": "a", "type": "B"}, "type: 'B' is not one of its values. "),
        ({"name": "a", "resolver": "ns.example"}, "resolver: 'ns.example' is no IP address. Write it like 9.9.9.9."),
        ({"name": "a", "expected": "x"}, "expected: 'x' is no IP address. Correct it, or type."),
        ({"name": "a", "exact": "true"}, "exact: no value is expected. Fill expected, or leave exact out."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_dns_record", **options)
    assert str(caught.value).startswith(message)
