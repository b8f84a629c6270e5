# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment`` is ``allot``."""

import sys

from allotment.cli import main

sys.exit(main())
