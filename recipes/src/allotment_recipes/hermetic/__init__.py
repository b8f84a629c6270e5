# SPDX-License-Identifier: Apache-2.0
"""What keeps a build from all that its section does not declare: network, other programs, other folders."""
