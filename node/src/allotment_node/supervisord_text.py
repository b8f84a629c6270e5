# SPDX-License-Identifier: Apache-2.0
"""The text of supervisord's configuration."""

import resource
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from allotment_node.supervisor import Service, SupervisorOptions

_SERVICES_EACH: Final = 10  # services of a partition that the limit of open files is made for
_HANDLES_EACH: Final = 3  # open files of supervisord for each service whose stderr goes into its stdout


def main_text(options: SupervisorOptions, socket: Path, pid_file: Path, log_file: Path) -> str:
    """Return supervisord.conf; partitions' files are included by a relative pattern, so any folder will do."""
    wanted = options.capacity * _SERVICES_EACH * _HANDLES_EACH + 200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # can't be raised, and supervisord refuses to start above it
    handles = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    lines = [
        "[supervisord]",
        f"pidfile = {pid_file}",
        f"logfile = {log_file}",
        "logfile_maxbytes = 5MB",
        "logfile_backups = 1",
        "loglevel = info",
        "nodaemon = true",
        "umask = 077",
        f"childlogdir = {options.folder}",
        f"minfds = {handles}",
        "minprocs = 1",
        "[unix_http_server]",
        f"file = {socket}",
        "chmod = 0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[include]",
        "files = groups/*.conf",
    ]
    return "\n".join(lines) + "\n"


def partition_text(
    options: SupervisorOptions, shim: Callable[[Path], list[str]], partition: str, services: Iterable[Service]
) -> str:
    """Return the configuration of a partition's services.

    A service that ends within 3 s is tried again after 1, 2, 3, ... seconds, 20 times, and is then failed; the agent
    gives failed ones another try later. One that ends after more than 3 s is started again at once.
    """
    home = options.partitions / partition
    limits = [word for limit, value in sorted(options.limits.items()) for word in ("--limit", f"{limit}={value}")]
    lines: list[str] = []
    for service in services:
        name = f"{partition}.{service.name}"
        command = [*shim(options.usage / f"{name}.json"), *limits, "--", str(service.program)]
        lines += [
            f"[program:{name}]",
            f"process_name = {service.name}",
            f"command = {shlex.join(command)}",
            f"directory = {home}",
            # The fingerprint is part of the configuration so that supervisord itself sees a changed program.
            f'environment = HOME="{home}",ALLOT_FINGERPRINT="{service.fingerprint}"',
            f"autostart = {'false' if service.once else 'true'}",
            f"autorestart = {'false' if service.once else 'true'}",
            f"startsecs = {0 if service.once else 3}",
            f"startretries = {0 if service.once else 20}",
            "stopwaitsecs = 20",  # the shim's grace, twice: for the program, then for what it leaves
            "killasgroup = true",
            "redirect_stderr = true",
            # Not inside the partition: supervisord does not start at all when the folder of one log is missing.
            f"stdout_logfile = {options.logs / name}.log",
            "stdout_logfile_maxbytes = 10MB",
            "stdout_logfile_backups = 2",
        ]
    return "\n".join(lines) + "\n"
