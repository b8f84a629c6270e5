# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_node run --folder DIR`` is ``allot node run --folder DIR``."""

import sys

from allotment.cli import main

if __name__ == "__main__":
    sys.exit(main(["node", *sys.argv[1:]]))
