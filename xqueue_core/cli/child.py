"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from xqueue_core.cli.words import Ear, Word
from xqueue_core.worker.pacing import Busy

logger = logging.getLogger("xqueue.worker")

#: Bounds of the wait before a process that died is replaced (seconds); it doubles.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
#: A process that lived this long is replaced at once (seconds).
HEALTHY = 60.0
#: What a process has said of how busy it is counts for so long (seconds).
RECENT = 5.0


class Child:
    """One place for a worker process, and how it fared."""

    def __init__(self, command: Sequence[str], clock: Callable[[], float]) -> None:
        self._command = command
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0
        self._ear: Ear | None = None
        self._serves = False
        self._busy: Busy | None = None
        self._told = 0.0
        self.at: float | None = 0.0  #: when to start it; None = not any more
        self.leaving = False  #: it was told to end, and nobody takes its place
        self.kill_at = float("inf")

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process, if one runs or its end has not been seen."""
        return self._process

    @property
    def here(self) -> bool:
        """True while a process runs, or is to."""
        return self._process is not None or self.at is not None

    def start(self) -> None:
        """Spawn the process. Raises OSError if the system has no room for it."""
        self._started = self._clock()
        self._serves = False
        ear = Ear()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, "--words-fd", str(ear.mouth)],
                stdin=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(ear.mouth,),
            )
        except BaseException:
            ear.close()
            raise
        finally:
            os.close(ear.mouth)
        self._ear = ear
        self.at = None
        logger.info("started worker process %d", self._process.pid)

    def busy(self) -> Busy | None:
        """How busy it is; None if it has not said so lately."""
        now = self._clock()
        said = None if self._ear is None else self._ear.hear()
        if said is not None:
            self._busy, self._told, self._serves = said, now, True
        return self._busy if now - self._told <= RECENT else None

    def ended(self) -> tuple[Word | None, int] | None:
        """Once, when the process has ended: why, and the exit code.

        None for the reason if it gave none, or one that does not fit: then it has died.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self.busy()  # its last word is heard with that
        word = None if self._ear is None else self._ear.last
        if word is not None and (word.code != code or (word is Word.USAGE and self._serves)):
            word = None
        # Who is told to stop before it listens for signals dies of that, with nothing in hand.
        fine = word is not None or (self.leaving and code in (0, -signal.SIGTERM))
        logger.log(
            logging.INFO if fine else logging.ERROR,
            "worker process %d ended with code %d%s%s",
            self._process.pid,
            code,
            _signal(code),
            "" if word is None else f" ({word.name.lower()})",
        )
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._ear is not None:
            self._ear.close()
        self._process = self._ear = self._busy = None
        return (word or Word.STOPPED) if fine else None, code

    def restart(self, word: Word | None = None) -> None:
        """Have it started again: at once if it asked for that, else after a growing wait."""
        now = self._clock()
        if word is Word.RECYCLE or now - self._started >= HEALTHY:
            self._failures = 0
            self.at = now
            return
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**self._failures)
        logger.info("another is started in %g s", wait)
        self.at = now + wait
        self._failures = min(self._failures + 1, 16)

    def stop(self, kill_at: float) -> None:
        """Tell it to end, and start it no more."""
        self.at = None
        self.leaving = True
        self.kill_at = kill_at
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it here and now."""
        if self._process is not None:
            logger.error("killing worker process %d", self._process.pid)
            self._process.kill()
            self.kill_at = float("inf")


def _signal(code: int) -> str:
    """The name of the signal that ended a process, as it stands behind the exit code; or ""."""
    if code >= 0:
        return ""
    try:
        return f" ({signal.Signals(-code).name})"
    except ValueError:  # one of the real-time signals
        return ""
