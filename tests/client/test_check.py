"""What 'motet site check' says of a folder of images."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from conformance.brains import write_brains
from motet.client.check import of_data


def test_images_are_counted_and_looked_at(tmp_path: Path) -> None:
    """Catches a check that is content with files it cannot read, and one that refuses a folder
    because it holds functional or diffusion images, too."""
    write_brains(tmp_path, batches={"b": 3})
    bold = tmp_path / "sub-b00/func/sub-b00_task-rest_bold.nii.gz"
    bold.parent.mkdir()
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 9), dtype=np.int16), np.eye(4)), bold)
    said = of_data(tmp_path, "ash")
    assert "3 people, images: 3 T1w" in said
    assert "3 of 3 have a brain mask" in said
    assert "Every header can be read" in said
    (tmp_path / "sub-b01/anat/sub-b01_T1w.nii.gz").write_bytes(b"no image")
    (tmp_path / "sub-b02/anat/sub-b02_desc-brain_mask.nii.gz").unlink()
    said = of_data(tmp_path, "ash")
    assert "2 of 3 have a brain mask" in said
    assert "1 cannot be used: sub-b01_T1w.nii.gz (" in said
