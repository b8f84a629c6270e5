# SPDX-License-Identifier: Apache-2.0
"""The farm's engine: a Twisted application that watches repositories, gives leases, takes results and judges them."""
