# SPDX-License-Identifier: Apache-2.0
"""Plugin framework, message formats and command line that every part of Allotment stands on."""

__version__ = "0.1"
