"""Parts of the panel in 3D Slicer: what needs its Qt, its Python and its extensions, but neither torch nor h5py."""
