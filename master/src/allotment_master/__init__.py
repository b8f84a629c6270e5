# SPDX-License-Identifier: Apache-2.0
"""The master: requests, allocation, desired state."""
