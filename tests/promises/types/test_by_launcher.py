# SPDX-License-Identifier: Apache-2.0
"""Types that use threads, libraries or their past, run as a node runs them: in one process of limited memory."""

import contextlib
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import trustme

from allotment_promises.launcher import Launcher
from allotment_promises.result import PromiseStatus


def test_they_share_a_process_and_its_memory(
    launcher: Launcher,
    partition: Path,
    promise: Callable[..., Path],
    serve: Callable[..., str],
    authority: trustme.CA,
) -> None:
    authority.cert_pem.write_to_path(str(partition / "ca.pem"))
    with sqlite3.connect(partition / "data.sqlite") as connection:
        connection.execute("create table thing (number integer)")
    (partition / "queue").mkdir()
    url = serve({"/": (200, {"Age": "1"}, b'{"well": true}')})
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(15)]
        urls = " ".join(f"http://127.0.0.1:{member.getsockname()[1]}/" for member in silent)
        promise("cluster", "check_cluster_health", members=f"{url} {urls}", minimum=1)
        promise("cache", "check_cache_available", url=url)
        promise("json", "check_http_json", url=url, path="well", expected="true")
        promise("sql", "check_sql_query", server="sqlite", file="data.sqlite", query="select count(*) from thing")
        promise("certificate", "check_certificate", certificate="ca.pem")
        promise("queue", "check_queue_length", folder="queue", maximum=0)
        composed = {"sensor": "check_url_available", "sensor-url": url, "metric": "seconds", "maximum": 60}
        promise("outlier", "check_metric", **composed, detector="outlier", deviations=1e6)
        promise("forecast", "check_metric", **composed, detector="forecast", past=600)
        promise("sustained", "check_metric", **{**composed, "maximum": 0}, detector="sustained", seconds=3600)
        for names in (None, ["outlier", "forecast", "sustained"], ["sustained"]):
            results = launcher.run(partition, "anomaly", names)
            assert {item.name: item.message for item in results if item.status is not PromiseStatus.PASSED} == {}
    (sustained,) = results
    assert sustained.message.startswith("failed for ")
    assert " s, tolerated below 3600 s: seconds is 0.0" in sustained.message
