# SPDX-License-Identifier: Apache-2.0
"""Promise modules written for SlapOS: Python files in ``etc/plugin``, run unchanged, each in a process of its own."""
