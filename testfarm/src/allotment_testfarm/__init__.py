# SPDX-License-Identifier: Apache-2.0
"""The test farm: projects, jobs, leases, verdicts and the results page."""
