"""SAM's vision transformer made fast for inference: fused attention, 8-bit integers, one thread per slice.

Public face: `vit.FastViT`, and `calibration`, which decides where integers are good enough.
"""
