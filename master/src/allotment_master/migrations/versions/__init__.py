# SPDX-License-Identifier: Apache-2.0
"""One step a module, in the order that ``down_revision`` gives."""
