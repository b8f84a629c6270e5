# SPDX-License-Identifier: Apache-2.0
"""How far this machine's clock is off, as an SNTP server, chrony or the kernel tells."""

import contextlib
import ctypes
import math
import os
import secrets
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from allotment_promises.command import run_command

NTP_PORT = 123
_EPOCH = 2208988800  # seconds from 1900, where NTP begins, to 1970
_ERA = 1 << 32  # seconds, after which NTP begins again
_UNSYNCHRONISED = 3  # leap indicator
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIME_ERROR = 5
_CHRONY_FIELDS = 14
_CHRONY_OFFSET, _CHRONY_LEAP = 4, 13  # fields of `chronyc -c tracking`


class ClockProblem(Exception):
    """Nobody can tell how far the clock is off; the text says why."""


@dataclass(frozen=True)
class Drift:
    """How far this machine's clock is ahead, in seconds, and who says so."""

    seconds: float
    source: str


def ask_server(host: str, port: int, timeout: float) -> Drift:
    """Ask an NTP server once (RFC 5905, section 14); an answer that can't be relied on is a ClockProblem."""
    source = f"NTP server {host}:{port}"
    token = secrets.token_bytes(8)  # comes back: the answer is to this question
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.settimeout(timeout)
            asking.connect(address)
            sent, clock = time.time(), time.monotonic()
            asking.send(struct.pack("!B39x", 0x23) + token)
            data = asking.recv(512)
            received = sent + time.monotonic() - clock
    except (OSError, UnicodeError) as error:
        raise ClockProblem(f"{source}: {error}") from error
    return Drift(-_offset(data, token, sent, received, source), source)


def _offset(data: bytes, token: bytes, sent: float, received: float, source: str) -> float:
    """Return by how many seconds the server's clock is ahead of this machine's."""
    if len(data) < 48 or data[0] & 7 != 4 or data[24:32] != token:
        raise ClockProblem(f"{source} gave no answer of NTP to what it was asked")
    if data[1] == 0:
        reason = data[12:16].decode("ascii", "replace").strip("\0")
        raise ClockProblem(f"{source} refuses: {reason}")
    if data[0] >> 6 == _UNSYNCHRONISED or data[1] > 15:
        raise ClockProblem(f"{source} has no right time itself")
    arrived, left = (_seconds(data[at : at + 8], sent) for at in (32, 40))
    return ((arrived - sent) + (left - received)) / 2


def _seconds(stamp: bytes, near: float) -> float:
    """Return an NTP time as UTC epoch, of the era that is nearest to ``near``."""
    whole, fraction = struct.unpack("!II", stamp)
    seconds = whole - _EPOCH + fraction / _ERA
    return float(seconds + _ERA * round((near - seconds) / _ERA))


def ask_chrony(timeout: float) -> Drift | None:
    """Return what chrony's daemon says, None when there is none."""
    try:
        outcome = run_command(["chronyc", "-n", "-c", "tracking"], Path("/"), timeout)
    except OSError:
        return None
    return None if outcome.code != 0 else parse_tracking(outcome.output)


def parse_tracking(text: str) -> Drift:
    """Return what the line says that ``chronyc -c tracking`` prints."""
    fields = text.strip().split(",")
    if len(fields) != _CHRONY_FIELDS:
        raise ClockProblem(f"chronyc tells {text.strip()[:80]!r}, expected {_CHRONY_FIELDS} fields")
    if fields[_CHRONY_LEAP] == "Not synchronised":
        raise ClockProblem("chrony follows no server: look at 'chronyc sources'")
    ahead = math.nan
    with contextlib.suppress(ValueError):
        ahead = -float(fields[_CHRONY_OFFSET])
    if not math.isfinite(ahead):
        raise ClockProblem(f"chronyc tells {fields[_CHRONY_OFFSET][:80]!r}, expected a number of seconds")
    return Drift(ahead, "chrony")


class _Timex(ctypes.Structure):
    """struct timex of Linux, as far as it is read here; the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    ]


def ask_kernel() -> Drift:
    """Return what the program that keeps the clock right, such as ntpd or systemd-timesyncd, told the kernel."""
    found = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))  # modes 0: only reads
    if state < 0:
        raise ClockProblem(f"the kernel does not tell how right the clock is: {os.strerror(ctypes.get_errno())}")
    if state == _TIME_ERROR or found.status & _STA_UNSYNC:
        raise ClockProblem("no program keeps the clock right: start chrony, ntpd or systemd-timesyncd")
    offset = found.offset / (1e9 if found.status & _STA_NANO else 1e6)  # what is still to be added to the clock
    sign = -1 if offset > 0 else 1
    return Drift(-offset + sign * found.esterror / 1e6, "the kernel")
