"""The workflow in a browser: a local server with the views of 3D Slicer, for those without Slicer and for GPU servers.

`security`, `folder`, `options`, `controls`, `pictures`, `contents` and `turns` need neither trame-slicer nor VTK;
most other modules do.
"""
