"""DICOM as values and files: headers, stored pixels, geometry, series, slides, derived instances.

Knows errors, tiling and radiometry; neither Dask nor the sources and sinks that are built on it.
"""
