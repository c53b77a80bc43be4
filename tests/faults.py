"""Processes that train, and what befalls them: for the tests of faults.

Most of these processes are forked from one that has imported framefill already, so that a test can
afford many: run as a program, this file is that one. Each is a process of its own all the same.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}
CLOCKS = {"clips_per_second", "memory", "seconds"}  # what no two runs have in common
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


class Attempt:
    """A process that trains, the first of a group of processes.

    Args:
        log: Takes all that it says.
        signal: Sends it a signal.
        poll: Gives its exit status, or None.
    """

    def __init__(self, pid: int, log: Path, poll: Callable[[], int | None]) -> None:
        self.pid, self.log, self._poll = pid, log, poll
        self.began = time.monotonic()

    def running(self) -> bool:
        return self._poll() is None

    def send(self, number: int, *, group: bool = False) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, seconds: float = 60) -> int:
        """Return the exit status, the negative number of a signal if one ended it."""
        try:
            wait_for(lambda: not self.running(), seconds)
        except TimeoutError:
            self.send(signal.SIGKILL, group=True)
            raise
        status = self._poll()
        assert status is not None
        return status

    def said(self) -> str:
        return self.log.read_text()

    def complaints(self) -> list[str]:
        """What framefill said of why it ended; anything but one line each is a fault."""
        assert "Traceback" not in self.said(), self.said()
        return [line for line in self.said().splitlines() if line.startswith("framefill: ")]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that it does.

        Raises:
            AssertionError: it ended before.
        """
        wait_for(lambda: condition() or not self.running())
        assert condition(), f"it ended before: {self.said()}"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {seconds} s")
        time.sleep(0.002)


class Server:
    """The process that others are forked from."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD},
        )
        atexit.register(self.process.communicate)  # it ends when nothing is asked any more

    def train(
        self,
        config: Path,
        out: Path,
        *,
        environment: Mapping[str, str] | None = None,
        die_at: int = 0,
        after: str = "",
        log: Path | None = None,
    ) -> Attempt:
        """Start `framefill train`.

        Args:
            config: A config.json.
            out: The run folder.
            environment: Beside that of the tests.
            die_at: It kills itself before so many changes of the file system; 0: it doesn't.
            after: Count from the first one whose path has this in it.
            log: Takes what it says; None: a file beside the run.
        """
        log = log or out.with_name(f"{out.name}.{time.monotonic_ns()}.log")
        arguments = ["train", str(config), "--out", str(out), "--device", "cpu"]
        asked = {
            "arguments": arguments,
            "log": str(log),
            "environment": dict(environment or {}),
            "die_at": die_at,
            "after": after,
        }
        log.touch()
        pid = self._ask(asked)
        return Attempt(pid, log, lambda: self._ask({"poll": pid}))

    def ranks(self, config: Path, out: Path, count: int = 2) -> list[Attempt]:
        """Start processes that train together, as torchrun does but without its own."""
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        return [
            self.train(
                config,
                out,
                environment={
                    **meeting,
                    "WORLD_SIZE": str(count),
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                },
            )
            for rank in range(count)
        ]

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@cache
def server() -> Server:
    """Return the process that others are forked from; it ends with the tests."""
    return Server()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def torchrun(config: Path, out: Path, count: int = 2) -> Attempt:
    """Start `framefill train` with torchrun."""
    log = out.with_name(f"{out.name}.{time.monotonic_ns()}.log")
    launcher = f"-m torch.distributed.run --nproc-per-node {count} --master-port {free_port()}"
    command = f"{launcher} -m framefill train {config} --out {out} --device cpu"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
        )
    return Attempt(process.pid, log, process.poll)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a file system of so many bytes, which goes with the process that mounted it.

    Raises:
        OSError: this machine lets nobody do so.
    """
    mount = f"mount -t tmpfs -o size={size} tmpfs {place} && echo mounted && exec sleep 1000"
    place.mkdir()
    for way in ("-m", "-rm"):  # as root; as anybody, where that is let
        with suppress(FileNotFoundError):
            holder = subprocess.Popen(
                ["unshare", way, "sh", "-c", mount],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert holder.stdout is not None
            with holder:
                if holder.stdout.readline():
                    try:
                        yield Path(f"/proc/{holder.pid}/root{place}")
                    finally:
                        holder.kill()
                    return
    raise OSError("a small file system can't be mounted: that takes unshare and its permission")


def report(finding: str) -> None:
    """Tell what was measured; shown by pytest -s."""
    sys.stdout.write(f"\n{finding}\n")


def lines(run: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl that are whole, without what clocks say."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    whole = [line for line in path.read_text().split("\n")[:-1] if line.endswith("}")]
    found = [json.loads(line) for line in whole]
    return [{name: each[name] for name in each.keys() - CLOCKS} for each in found]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder, by name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def drafts(run: Path) -> list[str]:
    """Return what begins with a dot anywhere in a run, but its lock."""
    found = sorted(str(path.relative_to(run)) for path in run.rglob(".*"))
    return [name for name in found if name != ".lock"]


def newest(run: Path) -> int:
    """Return the step of the newest checkpoint whose files are all as they were written; or 0."""
    from framefill.checkpoint import check_sums, checkpoints
    from framefill.errors import InputError

    for path in reversed(checkpoints(run / "checkpoints")):
        with suppress(InputError):
            return int(check_sums(path)["step"])
    return 0


def outcome(run: Path) -> dict[str, Any]:
    """Return all that a run has come to: of its newest checkpoint and its model, by name."""
    import torch
    from safetensors.torch import load_file

    place = run / "checkpoints" / f"{newest(run):08d}"
    found: dict[str, Any] = {}
    for path in sorted([*place.glob("*.safetensors"), *run.glob("model*/*.safetensors")]):
        for name, value in load_file(path).items():
            found[f"{path.parent.name}/{path.name}: {name}"] = value
    optimizer = torch.load(place / "optimizer.pt", weights_only=True)
    for number, values in optimizer["state"].items():
        for name, value in values.items():
            found[f"optimizer: {number} {name}"] = value
    found["groups"] = optimizer["param_groups"]
    state = json.loads((place / "state.json").read_text())
    return {**found, "step": state["step"], "guard": state["guard"], "lines": lines(run)}


def differences(run: Path, other: Path) -> list[str]:
    """Return the names of what two runs have not come to alike, bit for bit."""
    import torch

    ours, theirs = outcome(run), outcome(other)
    assert len(ours) > 20
    names = sorted(ours.keys() ^ theirs.keys())
    for name in sorted(ours.keys() & theirs.keys()):
        first, second = ours[name], theirs[name]
        alike = torch.equal if isinstance(first, torch.Tensor) else lambda a, b: a == b
        if not alike(first, second):
            names.append(name)
    return names


def _serve() -> list[str]:
    """Fork processes as asked; return, in these alone, with the arguments of framefill."""
    ended: dict[int, int] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if (pid := asked.get("poll")) is not None:
            if pid not in ended and (found := os.waitpid(pid, os.WNOHANG))[0]:
                ended[pid] = os.waitstatus_to_exitcode(found[1])
            answer = ended.get(pid)
        elif not (answer := os.fork()):
            _become(asked)
            return list(asked["arguments"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(file, stream)
    os.environ.update(asked["environment"])
    if asked["die_at"]:
        _die_at(asked["die_at"], asked["after"])


def _die_at(count: int, after: str) -> None:
    seen, counting = 0, not after

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen, counting
        if event not in CHANGES:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        counting = counting or after in str(arguments[0])
        seen += counting
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def _main() -> int:
    sys.dont_write_bytecode = True
    import torch
    import torch._dynamo  # what torch imports late, it imports now
    import torch.distributed

    from framefill.cli import main

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    return main(_serve())


if __name__ == "__main__":
    status = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking the interpreter apart takes longer than a short training
