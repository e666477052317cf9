"""Run a command that ends when its parent does, even when the parent is killed.

Called as a script of its own, `python dies_with_parent.py PARENT COMMAND…`, so that no Python code runs between fork
and exec of a process that has threads. PARENT is the process number of the caller.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the kernel was asked for the signal.
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent process is gone")
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command is the caller's, and no shell's
