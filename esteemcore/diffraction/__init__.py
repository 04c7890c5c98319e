"""Diffraction patterns of crystals: Bragg disks, what they look like inside, Bragg-vector maps."""

from esteemcore.diffraction.disks import Disks
from esteemcore.diffraction.find import find_disks
from esteemcore.diffraction.strain_maps import Strain, strain
from esteemcore.diffraction.structure import InnerStructure, learn_structure
from esteemcore.diffraction.table import DiskTable, bragg_vector_map

__all__ = [
    "DiskTable",
    "Disks",
    "InnerStructure",
    "Strain",
    "bragg_vector_map",
    "find_disks",
    "learn_structure",
    "strain",
]
