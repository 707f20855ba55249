"""The parent's side of a driver: a process that answers one line for each line (see drivers/protocol.py)."""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import time

# No request takes as long as that: the driver hangs.
TIMEOUT = 900


class DriverError(Exception):
    """A driver that did not start, died or hung; the message says why."""


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def before_exec(cpus):
    """Binds the process to processors, and has it killed when the parent dies: stopped, it would not notice.

    When memory runs out, it is the first to go.
    """
    os.sched_setaffinity(0, cpus)
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Driver:
    """A running driver. It is stopped by a signal whenever it has nothing to do, so that it takes no time from others."""

    def __init__(self, command, environment, cpus, log):
        self.log = log
        with log.open("ab") as errors:
            self.log_start = errors.tell()
            start = time.perf_counter()
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                preexec_fn=lambda: before_exec(cpus),
            )  # fmt: skip
        ready = self._read()
        self.start_seconds = time.perf_counter() - start
        """From the start of the process to the first score."""
        self.versions = ready["versions"]
        self._pause()

    def run(self, request, scores=False):
        """Runs a request of the texts' file; returns its seconds and, if asked for, its logits."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps({"load": request, "scores": scores}) + "\n")
            self.process.stdin.flush()
            answer = self._read()
        except BrokenPipeError:
            raise self._failure("ended") from None
        self._pause()
        return answer["seconds"], answer.get("scores")

    def memory(self, key):
        """A figure of /proc/PID/status in bytes: VmHWM, the peak of resident memory, or VmRSS, the present one."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def close(self):
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def _read(self):
        # One answer for one request: nothing is left in Python's buffer when we wait here.
        if not select.select([self.process.stdout], [], [], TIMEOUT)[0]:
            raise self._failure(f"gave no answer in {TIMEOUT} s")
        line = self.process.stdout.readline()
        if not line:
            raise self._failure("ended")
        return json.loads(line)

    def _failure(self, what):
        try:
            code = self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        written = self.log.read_bytes()[self.log_start :].decode("utf-8", "replace")
        lines = [line.strip() for line in written.splitlines()]
        reasons = [line for line in lines if "Error" in line or line.startswith("error")] or lines[-1:]
        reason = reasons[-1] if reasons else f"exit code {code}"
        if what == "ended" and code < 0:
            reason = f"{signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
        return DriverError(f"the driver {what}: {reason[:300]}")
