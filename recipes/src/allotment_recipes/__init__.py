# SPDX-License-Identifier: Apache-2.0
"""Buildout driver and recipes of Allotment."""
