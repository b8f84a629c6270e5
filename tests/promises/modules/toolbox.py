# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (a line for each plugin, as a table)
"""What the plugins of slapos.toolbox are tried on: for each a configuration that passes and one that fails."""

import contextlib
import email.utils
import json
import platform
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from websockets.sync.server import serve

# plugin -> what both have, what passes, what fails, and the text of the failure. {w} is the folder of the world, {good}
# and {bad} its two halves, {url} and {ws} its servers.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "audit_os_version": ({"versions": platform.freedesktop_os_release().get("VERSION_ID", "n/a")}, {"dist": platform.freedesktop_os_release()["NAME"]}, {"dist": "Plan 9"}, "(expected: Plan 9 "),
    "backupserver_check_backup": ({"cron_frequency": "0 0 1 1 *", "script_fullpath": "{good}", "monitor_url": "", "status_dirbasename": "", "status_name": "", "statistic_dirbasename": "", "statistic_name": ""}, {"status_fullpath": "{good}/backup"}, {"status_fullpath": "{bad}/backup"}, "Backup FAILED at"),
    "check_amarisoft_stats_log": ({"stats-period": 600}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats-old"}, "seconds old"),
    "check_baseband_latency": ({"stats-period": 600}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats"}, "lower than the minimum threshold"),
    "check_certificate": ({"certificate": "{w}/certificate.pem", "key": "{w}/key.pem"}, {}, {"certificate-expiration-days": "90000"}, "will expire in less than 90000 days"),
    "check_command_execute": ({}, {"command": "true"}, {"command": "echo no; false"}, "run with failure, output: b'no"),
    "check_core_network": ({"stats-period": 600, "mme-list": ["10.0.0.1"], "amf-list": []}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats"}, "10.0.0.1:36412 was disconnected"),
    "check_cpri_lock": ({"stats-period": 600, "sdr_dev": "1", "sfp_port": "2"}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats"}, "/dev/sdr1@2: HW Lock is missing"),
    "check_error_on_http_log": ({}, {"log-file": "{good}/http.log"}, {"log-file": "{bad}/http.log"}, "ERROR=1 (NOROUTE=1, UNREACHABLENET=0, TIMEOUT=0)"),
    "check_error_on_zope_longrequest_log": ({"error-threshold": 1, "maximum-delay": 0}, {"log-file": "{good}/long.log"}, {"log-file": "{bad}/long.log"}, "Site has 2 long request"),
    "check_file_state": ({"state": "not-empty"}, {"filename": "{good}/http.log"}, {"filename": "{bad}/no-file"}, "no-file"),
    "check_free_disk_space": ({"test-check-date": "2026-01-02", "test-check-time": "03:04"}, {"collectordb": "{good}/collector.db"}, {"collectordb": "{bad}/collector.db"}, "Free disk space low: remaining 0.01 G (disk size: 100 G"),
    "check_gps_lock": ({"stats-period": 600}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats"}, "GPS not locked"),
    "check_interface_up": ({}, {"ifname": "lo", "testing": "True"}, {"ifname": "no-such-0"}, "FileNotFoundError: [Errno 2]"),
    "check_network_errors_packets": ({}, {"max-lost-packets-per-MB": "1000000000"}, {"max-lost-packets-per-MB": "0"}, "Network packets lost reached critical threshold"),
    "check_network_transit": ({}, {}, {"transit-period": "0"}, "Couldn't read network data from log"),
    "check_oru_lof": ({}, {"netconf-log": "{good}/netconf"}, {"netconf-log": "{bad}/netconf"}, "Loss of Frame (LOF) alarm is on"),
    "check_oru_sync": ({}, {"netconf-log": "{good}/netconf"}, {"netconf-log": "{bad}/netconf"}, "Synchronization Error Alarm is on"),
    "check_oru_vswr": ({}, {"netconf-log": "{good}/netconf"}, {"netconf-log": "{bad}/netconf"}, "is on"),
    "check_partition_deployment_state": ({}, {"partition-id": "good"}, {"partition-id": "bad"}, "Buildout failed to process bad."),
    "check_ram_usage": ({"avg-ram-period": "600", "min-avg-ram": "1"}, {"min-threshold-ram": "1"}, {"min-threshold-ram": "1000000000"}, "RAM usage reached critical threshold"),
    "check_rx_saturated": ({"stats-period": 600, "rf-rx-chan-list": "[0]", "max-rx-sample-db": "-1"}, {"amarisoft-stats-log": "{good}/stats"}, {"amarisoft-stats-log": "{bad}/stats"}, "RX antennas saturated"),
    "check_server_cpu_load": ({}, {"cpu-load-threshold": "1000000"}, {"cpu-load-threshold": "many"}, "CPU load threshold 'many' is not valid"),
    "check_service_state": ({"service": "sleeper", "run-directory": "{w}"}, {"expect": "running"}, {"expect": "stopped"}, "service 'sleeper' is in state 'running' (expected 'stopped')"),
    "check_socket_listening": ({"host": "127.0.0.1"}, {"port": "{port}"}, {"port": "9"}, "Connection refused"),
    "check_surykatka_json": ({"report": "bot_status"}, {"json-file": "{good}/surykatka"}, {"json-file": "{bad}/surykatka"}, "Last bot datetime is more than 15 minutes old"),
    "check_url_available": ({}, {"url": "{url}/good"}, {"url": "{url}/bad"}, "failed (returned 404, expected 200)"),
    "check_websocket_available": ({"url": "{ws}", "binary": False, "content-to-send": "hello"}, {"content-to-receive": "hello"}, {"content-to-receive": "bye"}, "received 'hello' instead of 'bye'"),
    "monitor_bootstrap_status": ({"partition-id": "part", "process-name": "bootstrap", "process-pid-file": "{w}/pid"}, {"status-file": "{good}/empty"}, {"status-file": "{bad}/no-file"}, "Monitor bootstrap exited with error."),
    "trafficserver_cache_availability": ({}, {"wrapper-path": "{good}/traffic_ctl"}, {"wrapper-path": "{bad}/traffic_ctl"}, "Cache not available, occupation: full"),
    "validate_frontend_configuration": ({}, {"verification-script": "{good}/traffic_ctl"}, {"verification-script": "{bad}/traffic_ctl"}, "full"),
}  # fmt: skip
RF = "PCIe CPRI /dev/sdr1@2:\n CPRI: x1 {lock} SW\nSync: gps ({gps})\n"


@contextlib.contextmanager
def world(folder: Path) -> Iterator[dict[str, str]]:
    """Make what the plugins look at; yield the words of their configurations."""
    words = {"w": str(folder), "good": str(folder / "good"), "bad": str(folder / "bad")}
    _files(folder)
    _certificate(folder)
    with _http() as port, _websocket() as ws, _supervisor(folder):
        yield {**words, "port": str(port), "url": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{ws}/"}


def _files(folder: Path) -> None:
    now = datetime.now()
    for name, is_good in (("good", True), ("bad", False)):
        half = folder / name
        half.mkdir()
        rf = {"rxtx_delay_min": 2.0 if is_good else -1.0}
        core = {"address": "10.0.0.1:36412", "state": "setup_done" if is_good else "connecting"}
        info = RF.format(lock="HW" if is_good else "", gps="locked" if is_good else "free")
        data = {"rf": rf, "rf_info": info, "s1_list": [core], "samples": {"rx": [{"max": -20 if is_good else 0}]}}
        (half / "stats").write_text(2 * (json.dumps({"time": now.isoformat(), "data": data}) + "\n"))
        (half / "stats-old").write_text(json.dumps({"time": "2020-01-01T00:00:00", "data": data}) + "\n")
        alarms = [
            {
                "data": {
                    "notification": {"alarm-notif": {"fault-id": fault, "is-cleared": "true" if is_good else "false"}}
                }
            }
            for fault in ("1002", "18", "9")
        ]
        (half / "netconf").write_text("".join(json.dumps(alarm) + "\n" for alarm in alarms))
        moment = now.strftime("%a %b %d %H:%M:%S %Y")
        level = "notice" if is_good else "error"
        (half / "http.log").write_text(f"[{moment}] [{level}] (113)No route to host: proxy\n")
        line = now.strftime("%Y-%m-%d %H:%M:%S,123 - WARNING request\n")
        (half / "long.log").write_text(line if is_good else line * 2)
        written = time.time() if is_good else time.time() - 3600
        status = {"bot_status": [{"text": "loop", "date": email.utils.formatdate(written)}]}
        (half / "surykatka").write_text(json.dumps(status))
        (half / "empty").write_text("")
        end = "success" if is_good else "failed"
        (half / "backup").write_text(
            "".join(f"{now.isoformat()}+00:00, a, b, backup {word}\n" for word in ("running", end))
        )
        (half / "traffic_ctl").write_text("#!/bin/sh\n" + ("" if is_good else "echo full; exit 1\n"))
        (half / "traffic_ctl").chmod(0o755)
        _collector(half / "collector.db", free=50 << 30 if is_good else 10 << 20)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (folder / "pid").write_text(str(ended.pid))


def _collector(path: Path, free: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE disk (partition, used, free, mountpoint, date, time, reported)")
        row = ("/dev/sda1", (100 << 30) - free, free, "/", "2026-01-02", "03:04:05", 0)
        database.execute("INSERT INTO disk VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        database.commit()


def _certificate(folder: Path) -> None:
    issued = trustme.CA().issue_cert("localhost", not_after=datetime(2045, 1, 1))
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")


@contextlib.contextmanager
def _http() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def _websocket() -> Iterator[int]:
    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


@contextlib.contextmanager
def _supervisor(folder: Path) -> Iterator[None]:
    """A real supervisord with one service."""
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        f"[unix_http_server]\nfile = {folder}/sv.sock\n"
        f"[supervisord]\nlogfile = {folder}/supervisord.log\npidfile = {folder}/supervisord.pid\nnodaemon = true\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        "[program:sleeper]\ncommand = sleep 300\nstartsecs = 0\n"
    )
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        log = folder / "supervisord.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and "sleeper entered RUNNING" in log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(30)
