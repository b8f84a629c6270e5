# SPDX-License-Identifier: Apache-2.0
"""The master's migrations, run at its start; one that was released is never edited."""
