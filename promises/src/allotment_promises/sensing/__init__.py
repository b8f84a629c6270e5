# SPDX-License-Identifier: Apache-2.0
"""What promise types share when they measure: figures of the machine, logs, certificates, servers, amounts."""
