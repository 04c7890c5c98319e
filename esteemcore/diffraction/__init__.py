"""Diffraction patterns of crystals: Bragg disks, what they look like inside, Bragg-vector maps, classes."""

from esteemcore.diffraction.bragg_map import BraggMap, BraggVectors
from esteemcore.diffraction.classes import Classes
from esteemcore.diffraction.classify import classify
from esteemcore.diffraction.dark_field import DarkFieldGrains, segment_dark_field
from esteemcore.diffraction.descan import Descan, find_descan
from esteemcore.diffraction.disks import Disks
from esteemcore.diffraction.ellipse import Ellipse, fit_ellipse
from esteemcore.diffraction.find import find_disks
from esteemcore.diffraction.grain_statistics import Grains, grain_statistics
from esteemcore.diffraction.moire import MoireStrain, moire_strain
from esteemcore.diffraction.orientation_clusters import OrientationClusters, orientation_clusters
from esteemcore.diffraction.orientation_library import TemplateLibrary, template_library
from esteemcore.diffraction.orientation_map import orientation
from esteemcore.diffraction.orientation_result import Orientations
from esteemcore.diffraction.orientation_settle import settle_orientations
from esteemcore.diffraction.pixel_size import PixelSize, pixel_size
from esteemcore.diffraction.probe import Probe, learn_probe
from esteemcore.diffraction.strain_maps import Strain, strain
from esteemcore.diffraction.structure import InnerStructure, learn_structure
from esteemcore.diffraction.table import DiskTable, bragg_vector_map
from esteemcore.diffraction.template import Template, learn_template

__all__ = [
    "BraggMap",
    "BraggVectors",
    "Classes",
    "DarkFieldGrains",
    "Descan",
    "DiskTable",
    "Disks",
    "Ellipse",
    "Grains",
    "InnerStructure",
    "MoireStrain",
    "OrientationClusters",
    "Orientations",
    "PixelSize",
    "Probe",
    "Strain",
    "Template",
    "TemplateLibrary",
    "bragg_vector_map",
    "classify",
    "find_descan",
    "find_disks",
    "fit_ellipse",
    "grain_statistics",
    "learn_probe",
    "learn_structure",
    "learn_template",
    "moire_strain",
    "orientation",
    "orientation_clusters",
    "pixel_size",
    "segment_dark_field",
    "settle_orientations",
    "strain",
    "template_library",
]
