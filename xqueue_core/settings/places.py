"""Where a broker is, is said by its URL and nowhere else.

A section is about every broker of one backend, a place is that of one of them. Were it read in
the section too, either would have to be dropped for the other, and whoever shows the URL as the
broker in use would show a wrong one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from xqueue_core.errors import ConfigError
from xqueue_core.settings.model import Settings
from xqueue_core.settings.problems import masked, shown

#: Parts of a URL that say where a broker is. User and password are none of them: they may stand
#: apart, as secrets do.
PLACE: Final = ("scheme", "host", "port", "hosts", "path")

_URLS = ("url", "semaphore_url", "notifier_url", "view_url")


def check_places(settings: Settings, url: str, section: str, keys: Collection[str]) -> None:
    """Raises ConfigError if the section says where the broker of this URL is.

    ``keys`` are those that the backend has a setting for.
    """
    found = settings.found(section)
    said = {key: found[section, key] for key in PLACE if key in keys and (section, key) in found}
    if not said:
        return
    given = "; ".join(
        f"{one.name} = {shown(one.name, one.value)} ({one.origin})" for one in said.values()
    )
    name = next((name for name in _URLS if getattr(settings, name) == url), "url")
    whole = _placed(masked(url), {key: one.value for key, one in said.items()})
    raise ConfigError(
        f"{given}: where the broker is, its URL says alone; leave this out and say it in {name}: "
        f'`{name} = "{whole}"`'
    )


def _placed(url: str, said: Mapping[str, object]) -> str:
    """The URL with these parts in place of its own."""
    scheme, _, rest = url.partition("://")
    scheme = str(said.get("scheme", scheme))
    rest, mark, query = rest.partition("?")
    place, _, path = rest.partition("/")
    user, at, hosts = place.rpartition("@")
    if isinstance(listed := said.get("hosts"), list | tuple):
        hosts = ",".join(map(str, listed))
    elif listed is not None:
        hosts = str(listed)
    elif not said.keys().isdisjoint(("host", "port")):
        hosts = "".join(_host(hosts, said))
    if "path" in said:
        path = quote(str(said["path"]), safe="/:~")
    return f"{scheme}://{user}{at}{hosts}{'/' if path else ''}{path}{mark}{query}"


def _host(hosts: str, said: Mapping[str, object]) -> Iterator[str]:
    host, colon, port = hosts.rpartition(":")
    if not colon or "]" in port:
        host, port = hosts, ""
    host, port = str(said.get("host", host)), str(said.get("port", port))
    yield f"[{host}]" if ":" in host and not host.startswith("[") else host or "localhost"
    yield f":{port}" if port else ""
