"""FewShotSAM from a script: paint three slices, propagate, save, and apply to another volume. See docs/scripting.md.

    Slicer --testing --no-splash --python-script propagate_script.py

It makes its own volume; in yours, `volume` and `segmentation` are nodes of the scene.
"""

import tempfile
from pathlib import Path

import numpy as np
import slicer

# A bright ellipsoid in noise, 14 slices of 64 x 64, and a segmentation of it with one segment.
k, j, i = np.meshgrid(np.linspace(-1, 1, 14), np.linspace(-1, 1, 64), np.linspace(-1, 1, 64), indexing="ij")
truth = (k / 0.8) ** 2 + (j / 0.5) ** 2 + (i / 0.6) ** 2 < 1
voxels = np.where(truth, 100, -50) + np.random.default_rng(0).normal(0, 15, truth.shape)
volume = slicer.util.addVolumeFromArray(voxels.astype(np.int16), name="Phantom")
segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Ellipsoid")
segmentation.CreateDefaultDisplayNodes()
segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
segment = segmentation.GetSegmentation().AddEmptySegment("", "Ellipsoid")

# Three painted slices.
painted = np.zeros(truth.shape, np.uint8)
painted[[3, 7, 10]] = truth[[3, 7, 10]]
slicer.util.updateSegmentBinaryLabelmapFromArray(painted, segmentation, segment, volume)

# Everything between and beyond them, up to the first empty slices.
logic = slicer.util.getModuleLogic("FewShotSAM")
result = logic.propagate(volume, segmentation, emptySlices=[1, 12], onProgress=lambda progress: print(progress.text))
print(f"Mean confidence {result.review.mean_confidence:.2f}; to be painted next: {result.review.next_slices}")

# The learned model applied to another volume, and the result as a file.
folder = Path(tempfile.mkdtemp())
logic.saveModel(folder / "Ellipsoid.fewshot")
other = slicer.util.addVolumeFromArray(np.roll(voxels, 4, axis=2).astype(np.int16), name="Follow-up")
follow_up = logic.applyModel(folder / "Ellipsoid.fewshot", other).segmentation
logic.export(other, follow_up, folder / "Follow-up.seg.nrrd")
logic.close()

mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
