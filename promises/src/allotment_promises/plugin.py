# SPDX-License-Identifier: Apache-2.0
"""What this distribution contributes: the project's own promise types."""

from allotment.hookspecs import PromiseType, hookimpl


@hookimpl
def allotment_promise_types() -> tuple[PromiseType, ...]:
    return (
        PromiseType("audit_os_version", "allotment_promises.types.audit_os_version:AuditOsVersion"),
        PromiseType("audit_uptodate", "allotment_promises.types.audit_uptodate:AuditUptodate"),
        PromiseType("check_backup_freshness", "allotment_promises.types.check_backup_freshness:CheckBackupFreshness"),
        PromiseType(
            "check_backup_restorable", "allotment_promises.types.check_backup_restorable:CheckBackupRestorable"
        ),
        PromiseType("check_cache_available", "allotment_promises.types.check_cache_available:CheckCacheAvailable"),
        PromiseType("check_certificate", "allotment_promises.types.check_certificate:CheckCertificate"),
        PromiseType("check_clock_drift", "allotment_promises.types.check_clock_drift:CheckClockDrift"),
        PromiseType("check_cluster_health", "allotment_promises.types.check_cluster_health:CheckClusterHealth"),
        PromiseType("check_command_execute", "allotment_promises.types.check_command_execute:CheckCommandExecute"),
        PromiseType("check_config_valid", "allotment_promises.types.check_config_valid:CheckConfigValid"),
        PromiseType("check_cpu_temperature", "allotment_promises.types.check_cpu_temperature:CheckCpuTemperature"),
        PromiseType("check_dns_record", "allotment_promises.types.check_dns_record:CheckDnsRecord"),
        PromiseType("check_error_on_http_log", "allotment_promises.types.check_error_on_http_log:CheckErrorOnHttpLog"),
        PromiseType("check_feed_stalled", "allotment_promises.types.check_feed_stalled:CheckFeedStalled"),
        PromiseType("check_file_age", "allotment_promises.types.check_file_age:CheckFileAge"),
        PromiseType("check_file_state", "allotment_promises.types.check_file_state:CheckFileState"),
        PromiseType("check_free_disk_space", "allotment_promises.types.check_free_disk_space:CheckFreeDiskSpace"),
        PromiseType("check_http_json", "allotment_promises.types.check_http_json:CheckHttpJson"),
        PromiseType("check_icmp_packet_lost", "allotment_promises.types.check_icmp_packet_lost:CheckIcmpPacketLost"),
        PromiseType("check_interface_up", "allotment_promises.types.check_interface_up:CheckInterfaceUp"),
        PromiseType("check_log_pattern", "allotment_promises.types.check_log_pattern:CheckLogPattern"),
        PromiseType("check_log_rate", "allotment_promises.types.check_log_rate:CheckLogRate"),
        PromiseType("check_metric", "allotment_promises.types.check_metric:CheckMetric"),
        PromiseType(
            "check_network_errors_packets",
            "allotment_promises.types.check_network_errors_packets:CheckNetworkErrorsPackets",
        ),
        PromiseType("check_network_transit", "allotment_promises.types.check_network_transit:CheckNetworkTransit"),
        PromiseType(
            "check_partition_deployment_state",
            "allotment_promises.types.check_partition_deployment_state:CheckPartitionDeploymentState",
        ),
        PromiseType("check_port_closed", "allotment_promises.types.check_port_closed:CheckPortClosed"),
        PromiseType("check_process_count", "allotment_promises.types.check_process_count:CheckProcessCount"),
        PromiseType("check_queue_length", "allotment_promises.types.check_queue_length:CheckQueueLength"),
        PromiseType("check_ram_usage", "allotment_promises.types.check_ram_usage:CheckRamUsage"),
        PromiseType("check_redis", "allotment_promises.types.check_redis:CheckRedis"),
        PromiseType("check_replication_lag", "allotment_promises.types.check_replication_lag:CheckReplicationLag"),
        PromiseType("check_server_cpu_load", "allotment_promises.types.check_server_cpu_load:CheckServerCpuLoad"),
        PromiseType("check_service_state", "allotment_promises.types.check_service_state:CheckServiceState"),
        PromiseType("check_site_json", "allotment_promises.types.check_site_json:CheckSiteJson"),
        PromiseType("check_socket_listening", "allotment_promises.types.check_socket_listening:CheckSocketListening"),
        PromiseType("check_sql_query", "allotment_promises.types.check_sql_query:CheckSqlQuery"),
        PromiseType("check_swap", "allotment_promises.types.check_swap:CheckSwap"),
        PromiseType("check_systemd_unit", "allotment_promises.types.check_systemd_unit:CheckSystemdUnit"),
        PromiseType("check_tls", "allotment_promises.types.check_tls:CheckTls"),
        PromiseType("check_url_available", "allotment_promises.types.check_url_available:CheckUrlAvailable"),
        PromiseType(
            "monitor_bootstrap_status", "allotment_promises.types.monitor_bootstrap_status:MonitorBootstrapStatus"
        ),
        PromiseType(
            "check_websocket_available", "allotment_promises.types.check_websocket_available:CheckWebsocketAvailable"
        ),
        PromiseType(
            "monitor_partition_space", "allotment_promises.types.monitor_partition_space:MonitorPartitionSpace"
        ),
    )
