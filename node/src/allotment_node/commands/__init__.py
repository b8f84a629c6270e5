# SPDX-License-Identifier: Apache-2.0
"""``allot node ...``, one subcommand a module."""
