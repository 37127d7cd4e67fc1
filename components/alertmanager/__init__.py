"""Alertmanager: groups alerts, holds back their consequences, and tells whom the settings name."""

from components.alertmanager.component import Alertmanager

__all__ = ["Alertmanager"]
