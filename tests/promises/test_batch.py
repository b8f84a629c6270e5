# SPDX-License-Identifier: Apache-2.0
import os
import socket
from typing import Any

from allotment_promises.batch import Batch, _Runner


def test_a_process_that_ends_takes_no_pipe_of_another_with_it() -> None:
    """The number of a pipe that is closed is given to the next one that is opened."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        scene: Any = None  # nobody is run
        batch = Batch(scene, ours)
        reading, writing = os.pipe()
        other, other_end = os.pipe()
        os.set_blocking(reading, False)
        pid = os.posix_spawn("/bin/true", ["true"], {})
        end = os.pidfd_open(pid)
        ended = _Runner(pid, other, reading, end, {}, 0.0)  # its stderr was closed, and was what `reading` is now
        running = _Runner(0, reading, -1, -1, {}, 0.0)
        batch._runners[pid] = ended
        for handle, runner in ((other, ended), (end, ended), (reading, running)):
            batch._handles[handle] = runner
            batch._poll.register(handle)
        batch._end(ended)
        assert batch._handles == {reading: running}
        os.write(writing, b"here")
        assert os.read(reading, 10) == b"here"
        for handle in (reading, writing, other_end):
            os.close(handle)
