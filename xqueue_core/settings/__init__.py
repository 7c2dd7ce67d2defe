"""What can be configured, and where each value came from.

Sources, a later one winning: defaults, ``xqueue.toml`` in the working folder, ``.env`` there,
``XQUEUE_*`` environment variables, keyword arguments, command-line flags. Nothing is read
before :func:`load_settings` is called. A section, such as ``[sqlite]`` or
``XQUEUE_SQLITE__BUSY_TIMEOUT``, belongs to the plugin of that name, which describes it by a
pydantic model of its own: see :func:`backend_settings`.

This package imports pydantic: import it where settings are needed, not at the top of a module
that ``import xqueue_core`` loads.
"""

from xqueue_core.settings.explaining import explain_section
from xqueue_core.settings.loading import load_settings
from xqueue_core.settings.model import Explained, Settings, explain
from xqueue_core.settings.problems import masked
from xqueue_core.settings.sections import backend_name, backend_settings, section_name
from xqueue_core.settings.sources import SettingsWarning
from xqueue_core.settings.unused import Unused, unused_sections

__all__ = [
    "Explained",
    "Settings",
    "SettingsWarning",
    "Unused",
    "backend_name",
    "backend_settings",
    "explain",
    "explain_section",
    "load_settings",
    "masked",
    "section_name",
    "unused_sections",
]
