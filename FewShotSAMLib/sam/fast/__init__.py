"""SAM's vision transformer made fast for inference: fused attention, 8-bit integers, one thread per slice.

Public interface: `vit.FastViT`, and `calibration`, which decides where integers are accurate enough.
"""
