"""Shap-E."""
from types import ModuleType
def agreement() -> ModuleType:
    from gen3dexport.models.shap_e.networks import agreement as module
    return module
Knobs=Settings=read_settings=components=begin=make_assets=None
