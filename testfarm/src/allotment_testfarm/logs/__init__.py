# SPDX-License-Identifier: Apache-2.0
"""Logs on disk: written by the engine, read at the same time by any number of others, without locks.

While its attempt runs a log is one file of plain text, ``1.log``, and each stretch of it that is full is packed into
``1.log.zst`` as a zstd frame of its own, with a mark in ``1.log.idx``. When the attempt has ended the rest is packed,
all is compared with the plain text, and the plain text goes. So the plain text, while it is there, is the truth: a
crash in between costs nothing, and no byte is in two places that are both read. ``zstdcat 1.log.zst`` prints it all.
"""
