# SPDX-License-Identifier: Apache-2.0
"""Why parts are built: the inputs of each build are kept, and compared with those before."""
