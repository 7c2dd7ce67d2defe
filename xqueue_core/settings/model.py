"""The settings themselves: names, types, ranges, defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from xqueue_core.settings.problems import shown
from xqueue_core.settings.secrets import is_secret
from xqueue_core.settings.sources import Values, from_mapping


def _not_bool(value: object) -> object:
    # pydantic reads True as 1; nobody who writes `threads = true` means one thread.
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def _listed(value: object) -> object:
    """A comma-separated text, as the environment has it, as a list."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _no_table(value: object) -> object:
    if isinstance(value, dict):  # `[plugins.prometheus]`, say
        name = next(iter(value), "name")
        raise ValueError(
            f"a list of names is wanted; a plugin's own settings stand in [{name}], not in "
            f"[plugins.{name}]"
        )
    return value


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return names


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_Count = Annotated[int, BeforeValidator(_not_bool)]
_Seconds = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
_Url = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://")]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_Names = Annotated[tuple[_Name, ...], BeforeValidator(_listed), Field(min_length=1)]
_Plugins = Annotated[
    tuple[_Name, ...], BeforeValidator(_listed), BeforeValidator(_no_table), AfterValidator(_once)
]
_Level = Annotated[
    Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)
]

_DAY = 86_400.0
_YEAR = 366 * _DAY


class Settings(BaseSettings):
    """The settings of one app. Immutable; made by :func:`load_settings`, or by keywords in tests.

    Calling it reads neither files nor the environment. Its repr hides secrets.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: _Url = Field(
        default="sqlite:///xqueue.db",
        description="The broker: `scheme://...`; a file is `sqlite:///file.db`.",
    )
    semaphore_url: _Url | None = Field(
        default=None, description="Another broker for limits; by default the one of `url`."
    )
    notifier_url: _Url | None = Field(
        default=None, description="Another broker for events; by default the one of `url`."
    )
    view_url: _Url | None = Field(
        default=None, description="Where tasks are looked up; by default the broker of `url`."
    )
    namespace: str = Field(
        default="xqueue",
        pattern=r"^[a-z0-9-]{1,32}$",
        description="Prefix of all that is kept in the broker: 1 to 32 of a-z, 0-9 and `-`.",
    )
    durability: Literal["process", "power"] = Field(
        default="process",
        description="What a submit survives: the death of a process, or a power cut.",
    )
    plugins: _Plugins = Field(
        default=(), description="Names of plugins to use, each once; by default none."
    )
    app: str | None = Field(default=None, description="The app: `module:attr` or `file.py[:attr]`.")

    concurrency: _Count = Field(
        default=100, ge=1, le=100_000, description="Slots of one worker process: 1 to 100000."
    )
    min_concurrency: _Count | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Fewest slots, if they are to follow the load; by default as many as most.",
    )
    threads: _Count = Field(
        default=32, ge=1, le=10_000, description="Threads for plain functions: 1 to 10000."
    )
    children: _Count | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="Child processes for isolated tasks: 1 to 1024; by default one per CPU.",
    )
    tasks_per_child: _Count = Field(
        default=1, ge=1, le=1_000_000, description="Tasks a child runs one after another."
    )
    processes: _Count = Field(default=1, ge=1, le=1_024, description="Worker processes: 1 to 1024.")
    min_processes: _Count | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="Fewest processes, if they are to follow the load; by default as `processes`.",
    )
    prefetch: _Count | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Tasks fetched ahead of free slots: 0 to 100000; by default slots / 4.",
    )
    lanes: _Names | None = Field(
        default=None, description="Lanes to serve; by default all of the app."
    )
    types: _Names | None = Field(default=None, description="Task types to serve; by default all.")
    loop: Literal["asyncio", "uvloop", "trio"] = Field(
        default="asyncio", description="Event loop of handlers."
    )
    log_level: _Level = Field(
        default="info", description="Least severe level the command line logs."
    )

    grace: _Seconds = Field(
        default=30.0,
        ge=0,
        le=_DAY,
        description="Seconds for tasks to finish at a stop: 0 to 86400.",
    )
    lease: _Seconds = Field(
        default=15.0,
        ge=0.05,
        le=_DAY,
        description="Seconds without a heartbeat until a worker is dead: 0.05 to 86400.",
    )
    heartbeat: _Seconds | None = Field(
        default=None,
        gt=0,
        description="Seconds between heartbeats, at most lease / 4; by default min(1, lease / 5).",
    )
    lease_wait: _Seconds = Field(
        default=5.0, gt=0, le=300, description="Longest wait for work in one call: to 300 seconds."
    )
    event_retention: _Seconds = Field(
        default=_DAY, ge=0, le=_YEAR, description="Seconds that events are kept."
    )
    dedupe_horizon: _Seconds = Field(
        default=_DAY,
        gt=0,
        le=_YEAR,
        description="Seconds in which a repeated id or key is recognised.",
    )
    max_payload: _Count = Field(
        default=524_288,
        ge=1,
        le=524_288,
        description="Largest encoded payload in bytes: to 524288, what every backend takes.",
    )

    sections: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="What was said to each plugin, unchecked."
    )

    _found: Values = PrivateAttr(default_factory=dict)

    @field_validator("heartbeat")
    @classmethod
    def _often_enough(cls, heartbeat: float | None, info: ValidationInfo) -> float | None:
        # A worker must be able to miss three heartbeats before it is declared dead.
        lease = info.data.get("lease")
        if heartbeat is not None and lease is not None and heartbeat > lease / 4:
            raise ValueError(f"at most lease / 4 = {lease / 4:g} seconds")
        return heartbeat

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords alone: :func:`load_settings` reads the rest, to know where each came from."""
        return (init_settings,)

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between heartbeats, its default worked out."""
        return min(1.0, self.lease / 5) if self.heartbeat is None else self.heartbeat

    @property
    def lease_margin(self) -> float:
        """Seconds before the end of a lease from which on nothing starts under it."""
        return self.lease / 5

    @property
    def prefetch_slots(self) -> int:
        """Tasks fetched ahead of free slots, its default worked out."""
        return self.concurrency // 4 if self.prefetch is None else self.prefetch

    @property
    def child_processes(self) -> int:
        """Child processes for isolated tasks, its default worked out."""
        return min(1_024, os.cpu_count() or 1) if self.children is None else self.children

    @property
    def origin(self) -> dict[str, str]:
        """Where each value came from, in words, by name; keys of sections as ``sqlite.path``."""
        origins = dict.fromkeys(FIELDS, "default")
        origins.update(dict.fromkeys(self.model_fields_set & FIELDS, "keyword argument"))
        origins.update((one.name, one.origin) for one in self._found.values() if one.value != {})
        return origins

    def found(self, section: str) -> Values:
        """What was said to one plugin, by path, each value with its origin."""
        if self._found:
            return {path: one for path, one in self._found.items() if path[0] == section}
        said = {section: self.sections.get(section, {})}
        return {one.path: one for one in from_mapping(said, FIELDS, "keyword argument")}

    def remember(self, found: Values) -> None:
        """Keep where each value came from; called once, by the loader."""
        self._found.update(found)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for line in explain(self):
            yield line.name, line.value


#: Names of all settings; whatever else is said belongs to a section.
FIELDS: Final = frozenset(Settings.model_fields) - {"sections"}


class Explained(NamedTuple):
    """A setting for people: its value with secrets hidden, and where it came from."""

    name: str
    value: str
    origin: str


def explain(
    settings: Settings,
    models: Callable[[str], type[BaseModel] | None] = lambda section: None,
    without: Collection[str] = (),
) -> list[Explained]:
    """Every setting, then whatever is said in sections, in a stable order; secrets hidden.

    Args:
        models: a section's model, which tells what in it is a secret. Of a section without one
            that is told by the names of its keys.
        without: sections to leave out.
    """
    origin = settings.origin
    lines = [
        Explained(name, shown(name, getattr(settings, name)), origin[name])
        for name in Settings.model_fields
        if name in FIELDS
    ]
    for path, one in settings._found.items():
        if len(path) > 1 and path[0] not in without:
            value = "***" if is_secret(path[1:], models(path[0])) else shown(one.name, one.value)
            lines.append(Explained(one.name, value, one.origin))
    return lines
