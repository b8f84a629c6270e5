# SPDX-License-Identifier: Apache-2.0
"""The master's subcommands of ``allot``, one a file."""
