"""Storage: models in files, never with pickle.

A file is an uncompressed `.npz` archive, which NumPy and every zip program can read:

    header.json     the model's class, its parameters and what it has learned, as JSON (see `serialize`)
    <place>.npy     one array each, named after its place, such as training.network.0.0.W.npy
    sha256.txt      a digest of all of these (see `archive`)

Loading a file never runs anything in it. Saving replaces the old file in one step (see `files`).
`export` writes a model as Python source instead, `page` as one HTML file to play with.
"""

from npae.storage.checkpoint import Checkpoint
from npae.storage.export import export_network, export_pca
from npae.storage.files import atomic_write
from npae.storage.formulas import Formulas, network_formulas, pca_formulas
from npae.storage.models import check_savable, load, save
from npae.storage.page import export_page

__all__ = [
    "Checkpoint",
    "Formulas",
    "atomic_write",
    "check_savable",
    "export_network",
    "export_page",
    "export_pca",
    "load",
    "network_formulas",
    "pca_formulas",
    "save",
]
