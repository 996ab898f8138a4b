"""The bundled model in one room: compact encoder, fusion decoder, what it is told (exemplars, shape priors, places),
and in `train` how it was trained. Nothing is imported here.
"""
