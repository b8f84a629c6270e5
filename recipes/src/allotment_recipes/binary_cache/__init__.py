# SPDX-License-Identifier: Apache-2.0
"""The binary cache: built parts of a store, packed and signed, for other stores to take instead of building."""
