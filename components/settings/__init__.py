"""Everything that a stack file may say, with units, bounds and cross-field rules.

The stack file has one object, ``agentstack:stack``; :func:`load_settings` turns it into a frozen
:class:`Settings` or raises :class:`SettingsError` with *all* of its faults, before any resource is registered.
"""

from components.settings.errors import Problem, SettingsError
from components.settings.model import Settings, load_settings

__all__ = ["Problem", "Settings", "SettingsError", "load_settings"]
