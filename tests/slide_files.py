"""Small slides in DICOM, written by pydicom for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from pipeline.radiometry import Pixels

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of whole slides."""
SPACING = (0.000499, 0.000501)
"""(between rows, between columns) in millimetres."""
ORIGIN = (25.0, 50.0)
"""Of the first pixel, in millimetres."""
TURN = [-0.0, -1.0, 0.0, -1.0, 0.0, 0.0]
"""As scanners lay slides: rows run along -y, columns along -x."""
PATIENT = "Roe^Jane"
"""Whose slide it is; nothing of ours may say so."""


def item(**attributes: Any) -> Dataset:
    """The item of a sequence."""
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def cut(plane: Pixels, tile: int) -> dict[tuple[int, int], Pixels]:
    """Tiles (y, x, band) of a matrix (band, y, x) by row and column; those at the border are 7
    beyond it."""
    bands, height, width = plane.shape
    whole = np.full((bands, -(-height // tile) * tile, -(-width // tile) * tile), 7, plane.dtype)
    whole[:, :height, :width] = plane
    return {
        (y // tile, x // tile): np.moveaxis(whole[:, y : y + tile, x : x + tile], 0, -1)
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    }


def slide_header(
    shape: tuple[int, int, int],
    tile: int,
    dtype: str,
    *,
    paths: int = 1,
    planes: int = 1,
    spacing: Sequence[float] = SPACING,
) -> Dataset:
    """A header that dciodvfy accepts, of a matrix (band, y, x) of that shape."""
    bands, height, width = shape
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    bits = 8 * np.dtype(dtype).itemsize
    light = code("111744", "DCM", "Brightfield illumination")
    spectrum = code("414298005", "SCT", "Full Spectrum")
    glass = code("433466003", "SCT", "Microscope slide")
    measures = item(PixelSpacing=list(spacing), SliceThickness=0.0005)
    if planes > 1:
        measures.SpacingBetweenSlices = 0.001
    optical = [
        item(
            OpticalPathIdentifier=str(path),
            IlluminationTypeCodeSequence=[light],
            IlluminationColorCodeSequence=[spectrum],
            **({"ICCProfile": bytes(128)} if bands == 3 else {}),
        )
        for path in range(paths)
    ]
    header = item(
        SOPClassUID=SLIDE, SOPInstanceUID="1.2.3.4.1", StudyInstanceUID="1.2.3.1",
        SeriesInstanceUID="1.2.3.2", FrameOfReferenceUID="1.2.3.3", PyramidUID="1.2.3.5",
        Modality="SM", ImageType=kind, StudyDate="20200102", StudyTime="101112", StudyID="1",
        SeriesNumber=3, InstanceNumber=1, ContentDate="20200102", ContentTime="101112",
        AcquisitionDateTime="20200102101112", AccessionNumber="77", ReferringPhysicianName="",
        PatientName=PATIENT, PatientID="4711", PatientBirthDate="19500101", PatientSex="F",
        Manufacturer="M", ManufacturerModelName="S", DeviceSerialNumber="1", SoftwareVersions="1",
        VolumetricProperties="VOLUME", PositionReferenceIndicator="SLIDE_CORNER",
        DimensionOrganizationType="TILED_FULL", SeriesDescription="a slide",
        DimensionOrganizationSequence=[item(DimensionOrganizationUID="1.2.3.6")],
        SamplesPerPixel=bands, PhotometricInterpretation="RGB" if bands == 3 else "MONOCHROME2",
        NumberOfFrames=1, Rows=tile, Columns=tile, BitsAllocated=bits, BitsStored=bits,
        HighBit=bits - 1, PixelRepresentation=0, BurnedInAnnotation="NO",
        LossyImageCompression="00", ContainerIdentifier="C1", AcquisitionContextSequence=[],
        IssuerOfTheContainerIdentifierSequence=[], ContainerTypeCodeSequence=[glass],
        SpecimenDescriptionSequence=[
            item(
                SpecimenIdentifier="S1", SpecimenUID="1.2.3.7",
                IssuerOfTheSpecimenIdentifierSequence=[], SpecimenPreparationSequence=[],
            )
        ],
        ImagedVolumeWidth=width * spacing[1], ImagedVolumeHeight=height * spacing[0],
        ImagedVolumeDepth=0.5, TotalPixelMatrixColumns=width, TotalPixelMatrixRows=height,
        TotalPixelMatrixOriginSequence=[
            item(
                XOffsetInSlideCoordinateSystem=ORIGIN[0], YOffsetInSlideCoordinateSystem=ORIGIN[1],
                ZOffsetInSlideCoordinateSystem=0.0,
            )
        ],
        SpecimenLabelInImage="NO", FocusMethod="AUTO", ExtendedDepthOfField="NO",
        ImageOrientationSlide=TURN, OpticalPathSequence=optical, NumberOfOpticalPaths=paths,
        TotalPixelMatrixFocalPlanes=planes,
        SharedFunctionalGroupsSequence=[
            item(
                PixelMeasuresSequence=[measures],
                WholeSlideMicroscopyImageFrameTypeSequence=[item(FrameType=kind)],
            )
        ],
    )  # fmt: skip
    if bands == 3:
        header.PlanarConfiguration = 0
    else:
        header.PresentationLUTShape = "IDENTITY"
        header.RescaleSlope, header.RescaleIntercept = 1, 0
    return header


def save(path: Path, header: Dataset, frames: Sequence[Pixels], *, jpeg: bool = False) -> Path:
    """Write an instance of tiles (y, x, band)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SLIDE
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta, header.NumberOfFrames = meta, len(frames)
    if jpeg:
        import imagecodecs

        header.PhotometricInterpretation = "YBR_FULL_422"
        header.LossyImageCompression = "01"
        header.LossyImageCompressionRatio, header.LossyImageCompressionMethod = "9", "ISO_10918_1"
        encoded = [
            bytes(
                imagecodecs.jpeg8_encode(np.ascontiguousarray(frame), level=95, subsampling="422")
            )
            for frame in frames
        ]
        header.PixelData = encapsulate(encoded)
        header["PixelData"].is_undefined_length = True
        header["PixelData"].VR = "OB"
    else:
        data = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
        header.PixelData = data + b"\0" * (len(data) % 2)
        header["PixelData"].VR = "OB" if header.BitsAllocated == 8 else "OW"
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def write_slide(folder: Path, pixels: Pixels, *, tile: int = 96, jpeg: bool = False) -> Path:
    """TILED_FULL of (band, y, x) or (path, plane, band, y, x) pixels, in one file."""
    whole = pixels if pixels.ndim == 5 else pixels[None, None]
    paths, planes = whole.shape[:2]
    header = slide_header(whole.shape[2:], tile, pixels.dtype.name, paths=paths, planes=planes)
    frames = [frame for path in whole for plane in path for frame in cut(plane, tile).values()]
    save(folder / "a.dcm", header, frames, jpeg=jpeg)
    return folder


def write_concatenation(folder: Path, pixels: Pixels, parts: int, *, tile: int = 96) -> Path:
    """TILED_FULL of (band, y, x) pixels over several files, whose names tell nothing of order."""
    frames = list(cut(pixels, tile).values())
    cuts = [len(frames) * part // parts for part in range(parts + 1)]
    for part in range(parts):
        header = slide_header(pixels.shape, tile, pixels.dtype.name)
        header.SOPInstanceUID = f"1.2.3.4.{part + 1}"
        header.InstanceNumber = part + 1
        header.SOPInstanceUIDOfConcatenationSource = "1.2.3.4.99"
        header.ConcatenationUID = "1.2.3.8"
        header.InConcatenationNumber, header.InConcatenationTotalNumber = part + 1, parts
        header.ConcatenationFrameOffsetNumber = cuts[part]
        save(folder / f"{parts - part}.dcm", header, frames[cuts[part] : cuts[part + 1]])
    return folder


def write_sparse(
    folder: Path, pixels: Pixels, places: Sequence[tuple[int, int]], *, tile: int = 96
) -> Path:
    """TILED_SPARSE of those tiles of (band, y, x) pixels whose first row and column are given."""
    bands, height, width = pixels.shape
    header = slide_header(pixels.shape, tile, pixels.dtype.name)
    header.DimensionOrganizationType = "TILED_SPARSE"
    header.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID="1.2.3.6", DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x0048021A,
        )
        for pointer in (0x0048021E, 0x0048021F)
    ]  # fmt: skip
    large = np.full((bands, height + tile, width + tile), 7, pixels.dtype)
    large[:, :height, :width] = pixels
    header.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[1, 1])],
            PlanePositionSlideSequence=[
                item(
                    ColumnPositionInTotalImagePixelMatrix=x + 1,
                    RowPositionInTotalImagePixelMatrix=y + 1,
                    XOffsetInSlideCoordinateSystem=0.0, YOffsetInSlideCoordinateSystem=0.0,
                    ZOffsetInSlideCoordinateSystem=0.0,
                )
            ],
            OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="0")],
        )
        for y, x in places
    ]  # fmt: skip
    frames = [np.moveaxis(large[:, y : y + tile, x : x + tile], 0, -1) for y, x in places]
    save(folder / "a.dcm", header, frames)
    return folder
