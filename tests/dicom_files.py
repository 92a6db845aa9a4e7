"""Small DICOM files, written for the tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from pipeline.radiometry import Pixels

CT = "1.2.840.10008.5.1.4.1.1.2"
"""SOP class of CT images."""


def write_dicom(path: Path, pixels: Pixels, *, rle: bool = False, **attributes: Any) -> Path:
    """(y, x) or (frame, y, x) pixels as a CT image; `attributes` replace and add to the others."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CT
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = CT, "1.2.3", "CT"
    image.Rows, image.Columns = pixels.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8 * pixels.dtype.itemsize
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        image.NumberOfFrames = len(pixels)
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    image["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(image, name, value)
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    if rle:
        image.compress(RLELossless)
    image.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path, count: int, *, name: str = "I", first: float = 0.0, **attributes: Any
) -> list[Path]:
    """Slices of one series, 2 mm apart, whose names are not in the order of their positions."""
    rng = np.random.default_rng(len(name))
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        place = first + 2.0 * number
        pixels = rng.integers(0, 1000, (64, 64)).astype("int16")
        paths.append(
            write_dicom(
                folder / f"{name}{7 * number % count:03d}",
                pixels,
                **{
                    "SOPInstanceUID": f"1.2.3.{len(name)}.{number + 1}",
                    "SeriesInstanceUID": f"1.2.3.{len(name)}",
                    "FrameOfReferenceUID": "1.2.3.9",
                    "InstanceNumber": number + 1,
                    "ImagePositionPatient": [-30.0, -30.0, place],
                    "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                    "PixelSpacing": [1.0, 1.0],
                    **attributes,
                },
            )
        )
    return paths


def write_dicomdir(path: Path, entries: list[tuple[list[str], str]]) -> Path:
    """A DICOMDIR of these files, and the instances it says are in them."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    directory.FileSetID = ""
    directory.DirectoryRecordSequence = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that cannot be are meant
        for components, uid in entries:
            record = Dataset()
            record.DirectoryRecordType = "IMAGE"
            record.ReferencedFileID = components
            record.ReferencedSOPInstanceUIDInFile = uid
            directory.DirectoryRecordSequence.append(record)
        directory.save_as(path, enforce_file_format=True)
    return path
