# SPDX-License-Identifier: Apache-2.0
"""The agent that deploys instances on one machine."""
