"""Encoders and their embeddings.

Public interface: `registry` (the available encoders), `model_files` and `download` (their files), `encoder` (embeddings
of slices), `framing` (mapping slices to the encoder's image and back) and `cache` (embeddings on disk). Nothing is
imported here, so that listing models and inspecting the cache need neither torch nor h5py.
"""
