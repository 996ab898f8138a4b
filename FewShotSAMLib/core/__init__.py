"""Volumes, segmentations, sparse annotations, normalisation, post-processing and metrics, without deep learning.

Nothing is imported here, so that the command line and the background process start without scipy and SimpleITK.
"""
