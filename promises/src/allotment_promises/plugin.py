# SPDX-License-Identifier: Apache-2.0
"""What this distribution contributes: the project's own promise types."""

from allotment.hookspecs import PromiseType, hookimpl

PROMISES = {
    "audit_os_version": "AuditOsVersion",
    "audit_uptodate": "AuditUptodate",
    "check_backup_freshness": "CheckBackupFreshness",
    "check_backup_restorable": "CheckBackupRestorable",
    "check_cache_available": "CheckCacheAvailable",
    "check_certificate": "CheckCertificate",
    "check_clock_drift": "CheckClockDrift",
    "check_cluster_health": "CheckClusterHealth",
    "check_command_execute": "CheckCommandExecute",
    "check_config_valid": "CheckConfigValid",
    "check_cpu_temperature": "CheckCpuTemperature",
    "check_dns_record": "CheckDnsRecord",
    "check_error_on_http_log": "CheckErrorOnHttpLog",
    "check_feed_stalled": "CheckFeedStalled",
    "check_file_age": "CheckFileAge",
    "check_file_state": "CheckFileState",
    "check_free_disk_space": "CheckFreeDiskSpace",
    "check_http_json": "CheckHttpJson",
    "check_icmp_packet_lost": "CheckIcmpPacketLost",
    "check_interface_up": "CheckInterfaceUp",
    "check_log_pattern": "CheckLogPattern",
    "check_log_rate": "CheckLogRate",
    "check_metric": "CheckMetric",
    "check_network_errors_packets": "CheckNetworkErrorsPackets",
    "check_network_transit": "CheckNetworkTransit",
    "check_partition_deployment_state": "CheckPartitionDeploymentState",
    "check_port_closed": "CheckPortClosed",
    "check_process_count": "CheckProcessCount",
    "check_queue_length": "CheckQueueLength",
    "check_ram_usage": "CheckRamUsage",
    "check_redis": "CheckRedis",
    "check_replication_lag": "CheckReplicationLag",
    "check_server_cpu_load": "CheckServerCpuLoad",
    "check_service_state": "CheckServiceState",
    "check_site_json": "CheckSiteJson",
    "check_socket_listening": "CheckSocketListening",
    "check_sql_query": "CheckSqlQuery",
    "check_swap": "CheckSwap",
    "check_systemd_unit": "CheckSystemdUnit",
    "check_tls": "CheckTls",
    "check_url_available": "CheckUrlAvailable",
    "check_websocket_available": "CheckWebsocketAvailable",
    "monitor_bootstrap_status": "MonitorBootstrapStatus",
    "monitor_partition_space": "MonitorPartitionSpace",
}  # name -> class, in the module of that name


@hookimpl
def allotment_promise_types() -> tuple[PromiseType, ...]:
    return tuple(PromiseType(name, f"allotment_promises.types.{name}:{kind}") for name, kind in PROMISES.items())
