# SPDX-License-Identifier: Apache-2.0
"""The messages that the parts of Allotment exchange, one noun a module; docs/reference/formats shows each.

Nothing is imported here: a recipe needs two of the modules, and a dataclass costs half a millisecond to make.
"""
