# SPDX-License-Identifier: Apache-2.0
"""The master's tables, one noun a module: functions take a transaction or a connection and give frozen dataclasses."""
