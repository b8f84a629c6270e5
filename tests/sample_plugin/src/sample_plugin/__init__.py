# SPDX-License-Identifier: Apache-2.0
"""A third party's plugin: a recipe, a promise type and a command."""
