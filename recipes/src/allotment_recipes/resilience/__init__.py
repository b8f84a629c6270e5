# SPDX-License-Identifier: Apache-2.0
"""Backups: what the recipes ``backup.*`` and the programs that they start have in common.

The programs run for each export and each login: nothing here that they need imports buildout.
"""
