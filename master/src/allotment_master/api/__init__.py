# SPDX-License-Identifier: Apache-2.0
"""The HTTP API, one noun a module: each turns a call into one of :class:`allotment_master.master.Master`'s."""
