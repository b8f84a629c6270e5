# SPDX-License-Identifier: Apache-2.0
"""What ``allot new`` writes: a thing that works, its test and its documentation, to be changed step by step."""
