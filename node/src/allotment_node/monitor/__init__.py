# SPDX-License-Identifier: Apache-2.0
"""What a node tells monitoring tools: the state of its promises in files that such tools read."""
