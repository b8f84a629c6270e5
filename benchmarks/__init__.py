# SPDX-License-Identifier: Apache-2.0
"""One module a budget: ``python -m benchmarks`` runs all, ``python -m benchmarks.b20 --json`` one."""
