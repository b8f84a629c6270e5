# SPDX-License-Identifier: Apache-2.0
"""What this distribution contributes: the project's own promise types."""

from allotment.hookspecs import PromiseType, hookimpl


@hookimpl
def allotment_promise_types() -> tuple[PromiseType, ...]:
    return (
        PromiseType("check_command_execute", "allotment_promises.types.check_command_execute:CheckCommandExecute"),
        PromiseType("check_file_age", "allotment_promises.types.check_file_age:CheckFileAge"),
        PromiseType("check_file_state", "allotment_promises.types.check_file_state:CheckFileState"),
        PromiseType("check_free_disk_space", "allotment_promises.types.check_free_disk_space:CheckFreeDiskSpace"),
        PromiseType("check_log_pattern", "allotment_promises.types.check_log_pattern:CheckLogPattern"),
        PromiseType("check_log_rate", "allotment_promises.types.check_log_rate:CheckLogRate"),
        PromiseType("check_metric", "allotment_promises.types.check_metric:CheckMetric"),
        PromiseType("check_socket_listening", "allotment_promises.types.check_socket_listening:CheckSocketListening"),
        PromiseType("check_url_available", "allotment_promises.types.check_url_available:CheckUrlAvailable"),
        PromiseType("monitor_partition_space", "allotment_promises.types.monitor_partition_space:MonitorPartitionSpace"),
    )
