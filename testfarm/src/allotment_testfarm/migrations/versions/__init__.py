# SPDX-License-Identifier: Apache-2.0
"""One migration a module, in the order of their numbers."""
