"""Prefect blocks: where a service is, and the secret it asks for.

Prefect finds this module through the `prefect.collections` entry point and imports it on every
command, so it loads no client and no database driver.
"""

from blocks.effect_ledger import EffectLedger
from blocks.officeplane import OfficePlaneServer
from blocks.placet import PlacetCredentials
from blocks.planasonix import PlanasonixCredentials
from blocks.planck import PlanckCredentials
from blocks.pletor import PletorCredentials
from blocks.resolve import resolve

__all__ = [
    "EffectLedger",
    "OfficePlaneServer",
    "PlacetCredentials",
    "PlanasonixCredentials",
    "PlanckCredentials",
    "PletorCredentials",
    "resolve",
]
