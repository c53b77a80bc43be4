"""Carrying out a trial in a process of its own, whose end, whatever it is, is a finding."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from framefill.errors import InputError
from framefill.estimate.trial import Measured, Request
from framefill.serialise import from_data, to_data

WATCHED = 0.02  # seconds between looks at the process's memory
LEAST_SECONDS = 60.0  # that a process has, to start and to take its first steps


def attempt(request: Request, most_bytes: int | None) -> Measured:
    """Carry out a trial.

    Args:
        request: What to measure.
        most_bytes: Of main memory, at which the process is ended; None: it is not watched.

    Raises:
        InputError: what is asked for can't be trained.
        RuntimeError: the process failed for another reason.
    """
    line = json.dumps(to_data(request)) + "\n"
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            # Not what lies about in the current folder (-P), but this very framefill.
            [sys.executable, "-P", "-m", "framefill.estimate.child"],
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=complaints,
            env={**os.environ, "PYTHONPATH": _search_path()},
        )
        try:
            said = _asked(process, line) or _watched(process, request, most_bytes)
        finally:
            process.kill()
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
        told.seek(0)
        complaints.seek(0)
        return _understood(
            told.read().decode(), said, process.returncode, complaints.read().decode()
        )


def _search_path() -> str:
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _asked(process: subprocess.Popen[bytes], line: str) -> str:
    """Hand over the request; the pipe stays open, as its end would be the process's."""
    try:
        if process.stdin is not None:
            process.stdin.write(line.encode())
            process.stdin.flush()
    except BrokenPipeError:
        return "it ended before it was asked"
    return ""


def _watched(process: subprocess.Popen[bytes], request: Request, most_bytes: int | None) -> str:
    """Wait for the end of a process, or end it; say why, if that was us."""
    most_seconds = LEAST_SECONDS + 4 * (request.seconds + request.sampling_seconds)
    started = time.monotonic()
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        if most_bytes is not None and (taken := _resident(watched)) > most_bytes:
            return f"memory: stopped at {taken / 2**30:.2f} GiB"
        if time.monotonic() - started > most_seconds:
            return f"time: stopped after {most_seconds:.0f} s"
        time.sleep(WATCHED)
    return ""


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _understood(told: str, said: str, status: int, complaints: str) -> Measured:
    """Put together what a process told, and how it ended."""
    found: dict[str, object] = {}
    for line in told.splitlines():
        try:
            found.update(json.loads(line))
        except ValueError:  # it was ended in the middle of a word
            break
    if refused := found.pop("refused", ""):
        raise InputError(str(refused))
    kind, _, words = said.partition(": ")
    if words:
        found |= {"end": kind, "said": words}
    elif status in (-9, 137):  # nobody else ends it so
        found |= {"end": "memory", "said": "ended by the system, as it does when memory runs out"}
    elif status != 0:
        last = complaints.strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"a trial ended with status {status}: {last[0]}")
    return from_data(found, Measured, source="a trial")
