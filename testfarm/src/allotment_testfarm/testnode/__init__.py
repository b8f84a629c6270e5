# SPDX-License-Identifier: Apache-2.0
"""The test node: takes leases from the farm's engine and runs each job under a guard, in a process of its own."""
