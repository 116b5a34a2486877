"""Programs that a benchmark starts: their end, the CPU time they took and the memory they held, by the kernel's word."""

import json
import os
import signal
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """A running program. Its output is read as it comes, with the time of each line."""

    def __init__(self, *command, cwd=None):
        self.command = [str(part) for part in command]
        self.lines = []
        self.changed = threading.Condition()
        self.errors = []
        self.started = time.monotonic()
        self.child = subprocess.Popen(self.command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, errors="replace")
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.child.stdout:
            with self.changed:
                self.lines.append((time.monotonic(), line.rstrip("\n")))
                self.changed.notify_all()
        with self.changed:
            self.lines.append((time.monotonic(), None))
            self.changed.notify_all()

    def _read_errors(self):
        for line in self.child.stderr:
            self.errors.append(line.rstrip("\n"))

    @property
    def pid(self):
        return self.child.pid

    def wait_line(self, matches, seconds, what):
        """The time and text of the first line that matches; an error if the program ends or takes longer."""
        deadline = time.monotonic() + seconds
        at = 0
        with self.changed:
            while True:
                while at < len(self.lines):
                    when, text = self.lines[at]
                    at += 1
                    if text is None:
                        raise RuntimeError(f"{self.command[0]} ended before it said {what}: {self.errors[-3:]}")
                    if matches(text):
                        return when, text
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RuntimeError(f"{self.command[0]} did not say {what} within {seconds} s: {self.errors[-3:]}")
                self.changed.wait(left)

    def wait_event(self, seconds, **fields):
        """The same for godwit's JSON lines: the first object that has these fields."""
        def matches(text):
            try:
                found = json.loads(text)
            except ValueError:
                return False
            return all(found.get(key) == value for key, value in fields.items())
        when, text = self.wait_line(matches, seconds, str(fields))
        return when, json.loads(text)

    def cpu_seconds(self):
        """User and system time of the process with its threads and the children it has waited for."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICK

    def peak_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0

    def stop(self, how=signal.SIGTERM, seconds=20):
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for reader in self.readers:
            reader.join(5)


def run_measured(*command, cwd=None, env=None, stdin=subprocess.DEVNULL):
    """Runs a program to its end: (seconds, CPU seconds with children, bytes of the largest process at its peak, its output)."""
    started = time.monotonic()
    with subprocess.Popen([str(part) for part in command], cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace") as child:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(child.stderr.read()), daemon=True)
        reader.start()
        output = child.stdout.read()
        reader.join()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {child.returncode}: {errors[0][-500:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output


def run_timed(*command, cwd=None):
    """The same without the memory: (seconds, CPU seconds with children, its output)."""
    seconds, cpu, _, output = run_measured(*command, cwd=cwd)
    return seconds, cpu, output


def wait_for_socket(path_or_port, process, seconds=10):
    """Until a server listens; by the kernel's tables, since a probe would use up a server of one connection."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.child.poll() is not None:
            raise RuntimeError(f"{process.command[0]} ended: {process.errors[-3:]}")
        if isinstance(path_or_port, int):
            port = f":{path_or_port:04X} "
            with open("/proc/net/tcp", encoding="ascii") as table:
                if any(port in line.split(":", 1)[1][:16] + " " and line.split()[3] == "0A" for line in table.readlines()[1:]):
                    return
        else:
            with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
                if any(line.rstrip().endswith(str(path_or_port)) for line in table):
                    return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens at {path_or_port}")
