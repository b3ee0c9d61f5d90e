"""The glass: wasmtime engine, images, cells, limits. The only host code that knows wasmtime."""

from cloche.history.limits import Limits
from cloche.sandbox.artefacts import cache_directory, is_compiled, private_directory, secret
from cloche.sandbox.cells import Cell, meter
from cloche.sandbox.images import BaseImage, Image, base_image, load_image
from cloche.sandbox.validator import walk

__all__ = [
    "BaseImage",
    "Cell",
    "Image",
    "Limits",
    "base_image",
    "cache_directory",
    "is_compiled",
    "load_image",
    "meter",
    "private_directory",
    "secret",
    "walk",
]
