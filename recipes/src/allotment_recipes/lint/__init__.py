# SPDX-License-Identifier: Apache-2.0
"""Checks of profiles, schemas and checksums from their text alone: nothing is built and nothing is fetched."""
