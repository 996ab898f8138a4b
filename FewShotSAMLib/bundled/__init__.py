"""The bundled model: compact encoder, fusion decoder, what the decoder is conditioned on (exemplars, shape priors,
places) and, in `train`, how it was trained. Nothing is imported here.
"""
