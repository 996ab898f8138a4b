"""The public face of the model files: list, download and verify the encoders' checkpoints (no torch needed)."""

from FewShotSAMLib.sam.download import download
from FewShotSAMLib.sam.model_files import (
    ModelStatus,
    data_folder,
    is_downloaded,
    model_folder,
    model_path,
    status,
    verify,
)

__all__ = ["ModelStatus", "data_folder", "download", "is_downloaded", "model_folder", "model_path", "status", "verify"]
