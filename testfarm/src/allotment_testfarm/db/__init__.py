# SPDX-License-Identifier: Apache-2.0
"""The farm's tables: one noun a module; functions take a connection and plain values and return frozen dataclasses.

Whoever changes rows uses a writing transaction (``Database.write()``): on SQLite it begins with the write lock, on
PostgreSQL rows are locked where two engines could meet. Reading functions work in ``Database.read()``.
"""
