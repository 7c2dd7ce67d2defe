"""What the errors of Redis and of its client mean to XQueue."""

from __future__ import annotations

from redis import exceptions

from xqueue_core.errors import BrokerError, Refused, Unavailable, Unknown, XQueueError

#: What to do about an error that passes by itself or by an operator's hand; nothing was changed.
_PASSING = {
    "LOADING": "It is reading its data from disk; this ends by itself",
    "BUSY": (
        "A script or function runs for too long: end it with SCRIPT KILL or FUNCTION KILL, "
        "and see what started it"
    ),
    "UNBLOCKED": "Somebody ended the wait, or the server changed its role",
    "MASTERDOWN": "It is a replica without its primary: bring that back, or name the primary",
    "CLUSTERDOWN": "The cluster does not serve this slot: see CLUSTER INFO",
    "TRYAGAIN": (
        "The cluster is moving this slot: when it has, name the node that has it, or a server "
        "without a cluster"
    ),
    "MISCONF": (
        "It cannot write its data to disk and therefore accepts no change: make room or mend "
        "the disk, and see the server's log"
    ),
    "READONLY": (
        "It is a replica, maybe after a failover: the next call asks for the primary anew; if this "
        "lasts, name the primary or the sentinels in the URL"
    ),
    "OOM": (
        "It has as much memory as maxmemory allows. Raise maxmemory, or drain: let workers finish "
        "tasks, or purge finished ones"
    ),
    "NOREPLICAS": (
        "Fewer replicas are in step than min-replicas-to-write demands: bring them back, or "
        "lower it"
    ),
    "NOSCRIPT": (
        "The server forgets scripts as soon as they are loaded: who calls FUNCTION FLUSH, or "
        "SCRIPT FLUSH?"
    ),
}
_FORBIDDEN = {
    "NOAUTH": (
        "It wants a password: say it as XQUEUE_REDIS__PASSWORD or in the URL, "
        "redis://user:password@host"
    ),
    "WRONGPASS": "User or password is wrong: see XQUEUE_REDIS__USERNAME and XQUEUE_REDIS__PASSWORD",
    "NOPERM": (
        "This user lacks the right: give it those in xqueue.acl, which comes with xqueue_redis"
    ),
    "MOVED": (
        "It is a node of a cluster, and another one has this namespace: name that one, or a "
        "server without a cluster"
    ),
    "ASK": "The cluster is moving this namespace's slot to another node: name that one",
}
_TOO_LITTLE = (
    "XQueue needs a server that has the commands FCALL and FUNCTION LOAD, as Redis since 7.0 and "
    "Valkey have: upgrade it; where a proxy stands before it, name the server itself; and see that "
    "no rename-command takes them away"
)
_CODES = {
    exceptions.BusyLoadingError: "LOADING",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.NoScriptError: "NOSCRIPT",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.MovedError: "MOVED",
    exceptions.AskError: "ASK",
    exceptions.AuthorizationError: "NOAUTH",
}
_ANSWERED = frozenset(_PASSING) | frozenset(_FORBIDDEN)
#: How errors begin that a user's lack of rights is in a script: Redis 7.0, and later ones.
_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")
#: What errors say that a script meets with while a cluster moves its keys.
_MOVING = "access a non local key"
#: How servers say that they have no such function; they have no word in capitals for it.
_NO_FUNCTION = "Function not found"
#: What XQueue's scripts put before the code of an error of their own.
_OURS = "XQ"
#: How the answer begins of a script that raised when it may have changed something.
HALFWAY = f"{_OURS} HALFWAY"


class NoFunctions(exceptions.ResponseError):
    """What answers does not know how to load, or to run, functions."""


class NoTls(Unavailable):
    """A port was asked for TLS that answers to what is not encrypted."""


class HalfWay(Unknown):
    """A script raised when it may have changed something, which stays: nothing is rolled back."""

    answered = True


class ScriptRefused(Refused):
    """A script refused the call and said why, by ``redis.error_reply('XQ <CODE> text')``.

    Attributes:
        code: its word for the reason, in capitals.
    """

    def __init__(self, message: str | None = None, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def error_code(error: Exception) -> str:
    """The word in capitals with which Redis begins an error; "" where it gave none."""
    text = str(error)
    if isinstance(error, exceptions.AuthenticationError):
        wanted = "authentication required" in text.lower()
        return "NOAUTH" if wanted else "WRONGPASS"
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    if text.startswith(_IN_SCRIPT):
        return "NOPERM"
    if _MOVING in text:
        return "TRYAGAIN"
    if text.startswith(_NO_FUNCTION):
        return "NOSCRIPT"
    first = text.partition(" ")[0]
    return first if first.isupper() and first.isalpha() else ""


def is_reply(error: Exception) -> bool:
    """True if the server answered with this error, so that no answer is outstanding."""
    return isinstance(error, exceptions.ResponseError) or error_code(error) in _ANSWERED


def failure(error: Exception, where: str, *, sent: bool) -> XQueueError:
    """The typed error to raise in place of one of the client's; it says what to do.

    Args:
        error: the client's error, or one of the operating system.
        where: the server, for the message.
        sent: the call was on its way, so that without an answer nobody knows what became of it.
    """
    found = _failure(error, where, sent)
    found.__cause__ = error
    return found


def _failure(error: Exception, where: str, sent: bool) -> XQueueError:
    code, text = error_code(error), str(error).rstrip(".") or type(error).__name__
    what = f"{where}: {text if text.startswith(code) else f'{code} {text}'}"
    if isinstance(error, NoFunctions) or "unknown command" in text:
        return Refused(f"{what}. {_TOO_LITTLE}")
    if code in _PASSING:
        return Unavailable(f"{what}. {_PASSING[code]}")
    if code in _FORBIDDEN:
        return Refused(f"{what}. {_FORBIDDEN[code]}")
    if text.startswith(HALFWAY):
        said = text.removeprefix(HALFWAY).strip().removeprefix("ERR ")
        advice = {**_PASSING, **_FORBIDDEN}.get(error_code(exceptions.ResponseError(said)), "")
        told = f"{where}: {said}. It ended half way, so that a part of the call may have happened"
        return HalfWay(f"{told}. {advice}" if advice else told)
    if code == _OURS:
        _, word, said = [*text.split(" ", 2), "", ""][:3]
        return ScriptRefused(f"{where}: {said or word}", word)
    if "DB index" in text:
        return Refused(f"{what}. Name a database that there is, such as 0: redis://host:6379/0")
    if isinstance(error, exceptions.ResponseError):
        return Refused(what)
    if "max number of clients" in text:
        return Unavailable(f"{what}. Raise maxclients, or end what keeps connections open")
    # The client's own text may have several sentences; behind the first one stands what to do.
    return silence(where, text.replace(". ", ": "), sent=sent)


def silence(where: str, what: str, *, sent: bool) -> BrokerError:
    """The error for a call that was not answered."""
    if sent:
        return Unknown(f"{where}: {what}; the call may or may not have happened")
    return Unavailable(
        f"{where}: {what}. Nothing was sent: see that the server runs and can be reached from here"
    )
