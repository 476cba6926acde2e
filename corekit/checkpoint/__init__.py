"""Floor 5: checkpoints of safetensors and JSON, written atomically, read without pickle."""

from corekit.checkpoint.folder import find, read, verify, write
from corekit.checkpoint.load import load, load_model

__all__ = ["find", "load", "load_model", "read", "verify", "write"]
