# SPDX-License-Identifier: Apache-2.0
"""The source cache: what puts bytes into it, what a release wants of it, and serving it to other machines."""
