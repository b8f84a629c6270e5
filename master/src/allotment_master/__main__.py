# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_master run ...`` is ``allot master run ...``."""

import sys

from allotment.cli import main

sys.exit(main(["master", *sys.argv[1:]]))
