"""A model of one's own: a factory, named in the recipe, gives torch modules; a bundle of them runs without their code.

`model: {factory: "package.module:function"}` in a recipe is short for this family and its knobs. The factory is code:
it is imported and called when a recipe is planned or built, and never when a bundle runs.
"""

from __future__ import annotations

from gen3dexport.models.custom.host.declared import Part, Pipeline
from gen3dexport.models.custom.host.pipeline import begin, components, make_assets
from gen3dexport.models.custom.host.reading import read_settings
from gen3dexport.models.custom.host.settings import Knobs, Settings

__all__ = ["Knobs", "Part", "Pipeline", "Settings", "begin", "components", "make_assets", "read_settings"]
