# SPDX-License-Identifier: Apache-2.0
"""The project's own promise types, one module each; ``plugin.py`` registers them."""
