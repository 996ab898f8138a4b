"""Encoders and their embeddings.

Public face: `registry` (which encoders there are), `model_files` and `download` (their files), `encoder` (embeddings of
slices), `framing` (slices into the encoder's image and back) and `cache` (embeddings on disk). Nothing is imported
here, so that listing models and looking at the cache need neither torch nor h5py.
"""
