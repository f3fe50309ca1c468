"""gen3dexport: 3D generation models out to ExecuTorch, TPU and CUDA, validated from disk."""

__version__ = "0.1.0"
