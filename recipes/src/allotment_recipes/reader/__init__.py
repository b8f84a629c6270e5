# SPDX-License-Identifier: Apache-2.0
"""Reading profiles: their text, what they extend, and what comes of both; in time linear in all of it."""
