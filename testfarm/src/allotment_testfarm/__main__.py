# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_testfarm``."""

import sys

from allotment_testfarm.cli import main

sys.exit(main())
