"""Signals that ask a training to stop: heard between two steps, so that it can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

REQUEUE = 75  # exit status of what should be started again: EX_TEMPFAIL of sysexits.h
Mode = Literal["interrupt", "note", "stop"]
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")


class StoppedError(BaseException):
    """A training was asked to stop; like an interrupt it is nobody's fault to be caught on the way.

    Args:
        word: What asked: the name of a signal.
        saved: All steps that were taken are saved; otherwise there were none.
    """

    def __init__(self, word: str, *, saved: bool = False) -> None:
        super().__init__(word)
        self.word, self.saved = word, saved


class Signals:
    """What a training was asked by signals.

    Attributes:
        word: Name of the signal that asked to stop; nothing: none did.
    """

    def __init__(self) -> None:
        self.word = ""
        self._mode: Mode = "interrupt"
        self._raised = False

    def asked(self) -> bool:
        """Whether the training was asked to stop."""
        return bool(self.word)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note signals instead of stopping at once: what is cut in two can't be resumed exactly.

        A second SIGINT interrupts nevertheless.
        """
        with self._in("note"):
            yield

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Stop at once within `noted`: what takes long and leaves nothing behind.

        Raises:
            StoppedError: a signal came, now or before.
        """
        with self._in("stop"):
            self.check()
            with self._kept():
                yield

    def check(self) -> None:
        """Stop if a signal has asked for it.

        Raises:
            StoppedError, KeyboardInterrupt: one has.
        """
        if self.word:
            raise self._stop()

    def _stop(self) -> BaseException:
        interrupted = self.word == "SIGINT" and self._mode == "interrupt"
        return KeyboardInterrupt() if interrupted else StoppedError(self.word)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep what a signal has raised: libraries in C turn it into errors of their own."""
        try:
            yield
        except Exception as error:
            if self._raised:
                raise self._stop() from error
            raise
        finally:
            self._raised = False

    @contextmanager
    def _in(self, mode: Mode) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def _note(self, number: int, _: FrameType | None) -> None:
        again = self.word == "SIGINT" and number == signal.SIGINT
        self.word = signal.Signals(number).name
        if again:
            raise KeyboardInterrupt
        if self._mode != "note":
            self._raised = True
            raise self._stop()


@contextmanager
def signals() -> Iterator[Signals]:
    """Listen to SIGTERM and SIGUSR1, with which clusters announce an end, and to SIGINT.

    Only the main thread of a program can; elsewhere nothing is heard.
    """
    found = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    numbers = [number for name in SIGNALS if (number := getattr(signal, name, None))]
    before = {number: signal.signal(number, found._note) for number in numbers}
    try:
        with found._kept():
            yield found
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it wasn't set from Python
                signal.signal(number, handler)
