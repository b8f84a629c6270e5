# SPDX-License-Identifier: Apache-2.0
"""The kinds of buildout run, each done in a process of its own, and what several of them share."""
