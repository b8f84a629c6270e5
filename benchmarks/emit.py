# SPDX-License-Identifier: Apache-2.0
"""``emit.py LINES [DELAY]``: what a measured job prints, lines of 100 bytes.

With a delay, each line tells when it was printed, and is followed by that many seconds of silence.
"""

import sys
import time

lines = int(sys.argv[1])
delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
for number in range(lines):
    head = f"line {number:07d} " + (f"t={time.time():.6f} " if delay else "")
    sys.stdout.write(f"{head:x<99}\n")
    if delay:
        sys.stdout.flush()
        time.sleep(delay)
