"""Code for a child process that tells its own peak memory.

Not `ru_maxrss`: a child's begins at what its parent held when it was started, so that a large parent hides all of it.
"""

PEAK_MIB = """
def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
"""
