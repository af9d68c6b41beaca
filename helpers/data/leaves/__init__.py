"""`leaves`: a rendered miniature of PlantVillage, 33 classes of crop-leaf disease.

`rendering` puts a leaf before a background; `blades` draws the healthy leaf, `lesions` what a disease does to it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["blades", "lesions"],
    submod_attrs={
        "rendering": ["CLASSES", "DOMAINS", "crop", "disease", "folders", "render", "layers", "dataset", "write_folder"]
    },
)
