# SPDX-License-Identifier: Apache-2.0
"""Promises of Allotment and the launcher that runs them."""
