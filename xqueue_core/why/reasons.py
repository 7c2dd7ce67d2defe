"""The reasons that lie in the task itself, as data: its end, its time, its past.

Those that lie in workers, limits and lines are in :mod:`~xqueue_core.why.obstacles`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from xqueue_core.task import Failure, State
from xqueue_core.why.words import failed, listed, many, moment, span


class Reason(msgspec.Struct, frozen=True, kw_only=True, tag_field="code"):
    """One reason: its facts as fields, and a sentence with what to do.

    Durations are seconds and names ending in ``_at`` UTC seconds, both by the broker's clock when
    it was asked. As JSON it has its ``code`` beside its fields.

    Attributes:
        text: one plain sentence, made of the fields unless it is given.
    """

    text: str = ""

    def __post_init__(self) -> None:
        if not self.text:
            msgspec.structs.force_setattr(self, "text", self._sentence())

    @property
    def code(self) -> str:
        """The kind of reason, a word that never changes."""
        return str(type(self).__struct_config__.tag)

    def _sentence(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt did not succeed; as :class:`~xqueue_core.task.Failure`, with named fields."""

    reason: str
    type: str = ""
    message: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, failure: Failure | None) -> Fault | None:
        """The same as named fields."""
        if failure is None:
            return None
        return cls(
            reason=failure.reason,
            type=failure.type,
            message=failure.message,
            traceback=failure.traceback,
        )

    def __str__(self) -> str:
        return failed(Failure(self.reason, self.type, self.message))


class Ended(Reason, frozen=True, kw_only=True, tag="ended"):
    """It has ended: nothing runs it again but a replay, where there is such a thing."""

    state: State
    reason: str = ""
    finished_at: float = 0.0
    ago: float = 0.0
    attempt: int = 0
    fault: Fault | None = None
    replayable: bool = True

    def _sentence(self) -> str:
        again = "replay" if self.replayable else "submit"
        when = f"at {moment(self.finished_at)}, {span(self.ago)} ago"
        if self.state is State.SUCCESS:
            return f"It has run: it ended in success {when}."
        why = str(self.fault) if self.fault else self.reason
        tail = f": {why}" if why else ""
        if self.reason == "queue_timeout":
            return (
                f"It waited longer than its queue_timeout, and so ended as timeout {when}: see "
                f"that workers have room for it, then {again} it."
            )
        return f"It ended as {self.state.value} {when}{tail}; {again} it to run it again."


class Unknown(Reason, frozen=True, kw_only=True, tag="unknown"):
    """No record of it is kept, or there never was one.

    ``known`` tells whether its type is known to the broker, ``near`` types of like names.
    """

    id: str
    type: str
    known: bool = True
    near: tuple[str, ...] = ()
    where: str = ""

    def _sentence(self) -> str:
        where = f" on {self.where}" if self.where else ""
        if not self.known:
            near = f" (like it: {listed(self.near)})" if self.near else ""
            return (
                f"No task {self.id} is known{where}, nor its type {self.type!r}{near}: compare the "
                "id, the broker and the namespace with those of who submitted it."
            )
        return (
            f"No task {self.id} is known{where}: it was never accepted, or it has ended and its "
            "record is no longer kept (result_ttl), or it was purged."
        )


class Duplicate(Reason, frozen=True, kw_only=True, tag="duplicate"):
    """The task that was asked for duplicates another, and all that follows is about that one."""

    id: str
    of: str

    def _sentence(self) -> str:
        return f"{self.id} is a duplicate of {self.of}, which stands in its place."


class Quarantined(Reason, frozen=True, kw_only=True, tag="quarantined"):
    """Its record cannot be decoded."""

    why: str = ""

    def _sentence(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return (
            f"It is in quarantine, for its record cannot be decoded{why}: submit it anew, then "
            "purge this one."
        )


class Moving(Reason, frozen=True, kw_only=True, tag="moving"):
    """It is on its way to another broker, or there already."""

    state: State

    def _sentence(self) -> str:
        done = "has moved" if self.state is State.MOVED else "is being moved"
        return f"It {done} to another broker: ask there."


class Due(Reason, frozen=True, kw_only=True, tag="due"):
    """Its time has not come; or it has, and no worker has noticed yet (``due_in`` below 0).

    ``after`` says what it waits out: the delay it was given, the pause before a retry, or that
    after workers that could not run it.
    """

    due_at: float
    due_in: float
    after: Literal["delay", "retry", "unable"] = "delay"
    attempt: int = 0
    attempts: int = 0
    fault: Fault | None = None

    def _sentence(self) -> str:
        what = {
            "delay": "It was given a delay",
            "retry": f"Attempt {self.attempt} of {self.attempts} failed"
            + (f" ({self.fault})" if self.fault else ""),
            "unable": "It waits after a worker that could not run it",
        }[self.after]
        if self.due_in > 0:
            return (
                f"{what}, and it is due at {moment(self.due_at)}, in {span(self.due_in)}: wait, or "
                "reschedule it."
            )
        return (
            f"{what}, and it has been due since {moment(self.due_at)}, for {span(-self.due_in)}: a "
            "living worker lets it go on within a second or two, so see that one runs."
        )


class HandedBack(Reason, frozen=True, kw_only=True, tag="handed_back"):
    """The last worker that had it gave it back; ``times`` in a row for this reason."""

    reason: str
    times: int = 1
    worker: str = ""
    at: float = 0.0
    type: str = ""

    def _sentence(self) -> str:
        often = f", {self.times} times in a row" if self.times > 1 else ""
        advice = f"the reason given is {self.reason!r}"
        if self.reason in _ADVICE:
            advice = _ADVICE[self.reason].format(type=self.type)
        return f"The worker {self.worker} handed it back at {moment(self.at)}{often}: {advice}."


#: What is behind the words with which workers hand tasks back, and what to do.
_ADVICE = {
    "type": "it has no handler for the type {type!r}, so start workers that declare it, and no "
    "others in this lane",
    "version": "the task was written by a newer version of XQueue, so upgrade the workers",
    "no thread": "the system let it start no thread, so raise its limits or lower `threads`",
    "isolation": "it could not run the task in a child process, so look into its log",
    "no child": "the child process died to which it gave the task, so look into its log",
    "limits": "it could not have a permit for the task's key, so look into its log and see that "
    "its semaphore works",
    "alone": "the task must run alone and other tasks ran there, so let one worker become idle",
    "semaphore away": "the semaphore did not answer it, so see that it runs",
    "no permit": "the lane's permits were in use elsewhere",
    "blocked": "a handler blocked its event loop, so run blocking code in plain functions",
    "stop": "it was stopped",
    "recycle": "it was to be replaced, for code ran on there that could not be stopped",
    "paused": "its lane was paused",
    "quiet": "it was told to lease nothing more",
    "limited": "its lane had just got a limit",
    "permit": "others needed its lane's permit before it could start",
    "key": "it had no slot for it within a second, and others may need its key's permit",
}


class Lost(Reason, frozen=True, kw_only=True, tag="worker_lost"):
    """Workers died while they had it. From the last loss but one it runs alone in its process."""

    losses: int
    most: int
    worker: str = ""
    at: float = 0.0
    alone: bool = False

    def _sentence(self) -> str:
        last = f", the last ({self.worker}) at {moment(self.at)}" if self.worker else ""
        head = f"{many(self.losses, 'worker')} died while running it{last}"
        if not self.alone:
            return f"{head}: the loss number {self.most} ends it as failed, so look why they died."
        return (
            f"{head}, so it waits until a worker can run it alone, with nothing beside it: one "
            "more loss ends it as failed; an idle worker helps, and a look at why the others died."
        )


class Expiring(Reason, frozen=True, kw_only=True, tag="expiring"):
    """It becomes ``timeout`` if it has not started by then; or should have (``expires_in`` < 0).

    ``stands`` while its lane is paused: the time left does not become less. ``exact`` is False if
    the backend does not tell the time, so that pauses of the lane are not counted.
    """

    expires_at: float
    expires_in: float
    stands: bool = False
    exact: bool = True

    def _sentence(self) -> str:
        about = "" if self.exact else "about "
        if self.expires_in <= 0:
            return (
                f"Its queue_timeout ran out {about}{span(-self.expires_in)} ago: it will not run, "
                "but end as timeout as soon as a worker looks; replay it then."
            )
        if self.stands:
            return (
                f"It has {about}{span(self.expires_in)} left until it ends as timeout "
                "(queue_timeout), which does not become less while the lane is paused."
            )
        return (
            f"It ends as timeout (queue_timeout) in {about}{span(self.expires_in)}, at "
            f"{moment(self.expires_at)}, unless it has started by then."
        )
