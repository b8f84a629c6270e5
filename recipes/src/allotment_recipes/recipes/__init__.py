# SPDX-License-Identifier: Apache-2.0
"""The recipes: one file each, named like its entry point."""
