"""DICOM images of several classes, written for the tests: what real files of ours do not cover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipeline.radiometry import Pixels

ROOT = "1.2.826.0.1.3680043.10.9999"
STORAGE = "1.2.840.10008.5.1.4.1.1"
FRAMES = 3


def item(**attributes: Any) -> Dataset:
    """A data set of attributes by their keywords."""
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """The item of a sequence of codes."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def common(sop_class: str, modality: str, **attributes: Any) -> Dataset:
    """Patient, study, series, equipment and instance."""
    found = item(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=f"{STORAGE}.{sop_class}",
        SOPInstanceUID=f"{ROOT}.{sop_class}.1",
        StudyInstanceUID=f"{ROOT}.1",
        SeriesInstanceUID=f"{ROOT}.{sop_class}",
        StudyDate="20200102",
        StudyTime="101112",
        SeriesDate="20200102",
        SeriesTime="101213",
        AcquisitionDate="20200102",
        AcquisitionTime="101214",
        ContentDate="20200102",
        ContentTime="101215",
        AccessionNumber="A17",
        Modality=modality,
        Manufacturer="Maker",
        ManufacturerModelName="Model",
        DeviceSerialNumber="4711",
        SoftwareVersions="1.0",
        ReferringPhysicianName="Referrer^Rita",
        SeriesDescription="Körper",
        PatientName="Müller^Jürgen",
        PatientID="P-4711",
        PatientBirthDate="19600102",
        PatientSex="O",
        StudyID="17",
        SeriesNumber=3,
        InstanceNumber=5,
        PatientOrientation=["L", "F"],
        Laterality="R",
    )
    found.update(item(**attributes))
    return found


def save(path: Path, dataset: Dataset, pixels: Pixels) -> Path:
    """Write a data set with grey pixels (y, x) or (frame, y, x), or colours (.., y, x, 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    colour = pixels.shape[-1] == 3
    shape = pixels.shape[:-1] if colour else pixels.shape
    dataset.file_meta = meta
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if len(shape) == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = shape[-2:]
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = dataset.get("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def noise(*shape: int, dtype: str = "uint16", bits: int = 12) -> Pixels:
    """Random stored values."""
    return np.random.default_rng(1).integers(0, 2**bits, shape).astype(dtype)


def write_ultrasound(path: Path) -> Path:
    """A cine of colours with a calibrated region."""
    region = item(
        RegionSpatialFormat=1,
        RegionDataType=1,
        RegionFlags=0,
        RegionLocationMinX0=4,
        RegionLocationMinY0=6,
        RegionLocationMaxX1=35,
        RegionLocationMaxY1=25,
        ReferencePixelX0=10,
        ReferencePixelY0=3,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        ReferencePixelPhysicalValueX=0.5,
        ReferencePixelPhysicalValueY=-0.25,
        PhysicalDeltaX=0.02,
        PhysicalDeltaY=0.03,
    )
    dataset = common(
        "3.1",
        "US",
        ImageType=["ORIGINAL", "PRIMARY", "", "0001"],
        FrameIncrementPointer=0x00181063,
        FrameTime="33.3",
        UltrasoundColorDataPresent=1,
        LossyImageCompression="00",
        SequenceOfUltrasoundRegions=[region],
    )
    return save(path, dataset, noise(FRAMES, 30, 40, 3, dtype="uint8", bits=8))


def write_angiography(path: Path) -> Path:
    """A cine with shutters and collimators of all shapes."""
    edges = {"LeftVerticalEdge": 3, "RightVerticalEdge": 38, "UpperHorizontalEdge": 2}
    edges["LowerHorizontalEdge"] = 29
    shutter = {f"Shutter{name}": value for name, value in edges.items()}
    collimator = {f"Collimator{name}": value for name, value in edges.items()}
    dataset = common(
        "12.1",
        "XA",
        ImageType=["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
        FrameIncrementPointer=0x00181063,
        FrameTime="66.6",
        ImagerPixelSpacing=["0.37", "0.35"],
        PixelIntensityRelationship="LOG",
        KVP="80",
        RadiationSetting="GR",
        XRayTubeCurrent=100,
        ExposureTime=10,
        PositionerMotion="STATIC",
        PositionerPrimaryAngle="0",
        PositionerSecondaryAngle="0",
        LossyImageCompression="00",
        BitsStored=10,
        RecommendedDisplayFrameRate=15,
        ShutterShape=["RECTANGULAR", "CIRCULAR", "POLYGONAL"],
        CenterOfCircularShutter=[16, 20],
        RadiusOfCircularShutter=9,
        VerticesOfThePolygonalShutter=[1, 1, 1, 40, 30, 40],
        CollimatorShape=["RECTANGULAR", "CIRCULAR"],
        CenterOfCircularCollimator=[15, 21],
        RadiusOfCircularCollimator=12,
        **shutter,
        **collimator,
    )
    return save(path, dataset, noise(FRAMES, 30, 40, bits=10))


def write_mammogram(path: Path) -> Path:
    """A mammogram for presentation, with padding and an overlay that draws a square."""
    overlay = np.zeros((30, 40), np.uint8)
    overlay[5:9, 6:11] = 1
    dataset = common(
        "1.2",
        "MG",
        ImageType=["ORIGINAL", "PRIMARY", ""],
        PresentationIntentType="FOR PRESENTATION",
        ImagerPixelSpacing=["0.1", "0.1"],
        PixelPaddingValue=0,
        PixelPaddingRangeLimit=30,
        WindowCenter=["2000", "1500"],
        WindowWidth=["900", "750"],
        RescaleIntercept="0",
        RescaleSlope="1",
        RescaleType="US",
        PresentationLUTShape="IDENTITY",
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=-1,
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        ImageLaterality="R",
        BitsStored=12,
        SmallestImagePixelValue=0,
        LargestImagePixelValue=4095,
    )
    del dataset.Laterality
    dataset.add_new(0x60000010, "US", 30)
    dataset.add_new(0x60000011, "US", 40)
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", np.packbits(overlay, bitorder="little").tobytes())
    pixels = noise(30, 40)
    pixels[:, :8] = 7
    return save(path, dataset, pixels)


def groups(shared: dict[str, Dataset], each: list[dict[str, Dataset]]) -> dict[str, Any]:
    """Functional groups, shared and per frame."""
    return {
        "SharedFunctionalGroupsSequence": [item(**{k: [v] for k, v in shared.items()})],
        "PerFrameFunctionalGroupsSequence": [
            item(**{k: [v] for k, v in one.items()}) for one in each
        ],
    }


def dimensions() -> dict[str, Any]:
    """One dimension: the position in the stack."""
    index = item(
        DimensionIndexPointer=0x00209057,
        FunctionalGroupPointer=0x00209111,
        DimensionOrganizationUID=f"{ROOT}.77",
    )
    return {
        "DimensionOrganizationSequence": [item(DimensionOrganizationUID=f"{ROOT}.77")],
        "DimensionIndexSequence": [index],
    }


def frame_groups(number: int, *, measures: Dataset | None = None) -> dict[str, Dataset]:
    """What each frame says of itself."""
    content = item(
        StackID="1",
        InStackPositionNumber=number + 1,
        DimensionIndexValues=number + 1,
        FrameAcquisitionNumber=1,
        FrameReferenceDateTime="20200102101214",
        FrameAcquisitionDateTime="20200102101214",
        FrameAcquisitionDuration=1.0,
    )
    position = item(ImagePositionPatient=["-10.5", "7.25", f"{3.0 * number}"])
    found = {"FrameContentSequence": content, "PlanePositionSequence": position}
    return found if measures is None else found | {"PixelMeasuresSequence": measures}


ORIENTATION = ["0.8", "0.6", "0", "-0.6", "0.8", "0"]
ANATOMY = ("T-A0100", "SRT", "Brain")


def write_enhanced_ct(path: Path, *, shared: bool = True) -> Path:
    """Enhanced CT; the size of pixels is shared or stands with each frame."""
    measures = item(PixelSpacing=["0.5", "0.7"], SliceThickness="3")
    anatomy = item(FrameLaterality="U", AnatomicRegionSequence=[code(*ANATOMY)])
    frame_type = item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    pixel_value = item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")
    all_frames = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=ORIENTATION),
        "FrameAnatomySequence": anatomy,
        "PixelValueTransformationSequence": pixel_value,
        "FrameVOILUTSequence": item(WindowCenter="40", WindowWidth="400"),
        "CTImageFrameTypeSequence": frame_type,
    }
    each = [frame_groups(n, measures=None if shared else measures) for n in range(FRAMES)]
    dataset = common(
        "2.1",
        "CT",
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        FrameOfReferenceUID=f"{ROOT}.9",
        PositionReferenceIndicator="",
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        AcquisitionDateTime="20200102101214",
        AcquisitionDuration=1.0,
        ContentQualification="PRODUCT",
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        PresentationLUTShape="IDENTITY",
        AcquisitionContextSequence=[],
        BitsStored=12,
        **dimensions(),
        **groups(all_frames | ({"PixelMeasuresSequence": measures} if shared else {}), each),
    )
    return save(path, dataset, noise(FRAMES, 30, 40))


def acquisition() -> dict[str, Dataset]:
    """How an original MR image was acquired, as all its frames say it."""
    rates = item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=1.0)
    mode = item(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL")
    receive = item(
        ReceiveCoilName="Head",
        ReceiveCoilManufacturerName="Maker",
        ReceiveCoilType="VOLUME",
        QuadratureReceiveCoil="YES",
    )
    transmit = item(
        TransmitCoilName="Body", TransmitCoilManufacturerName="Maker", TransmitCoilType="BODY"
    )
    geometry = item(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=40,
        MRAcquisitionPhaseEncodingStepsInPlane=30,
        MRAcquisitionPhaseEncodingStepsOutOfPlane=3,
        PercentSampling="100",
        PercentPhaseFieldOfView="100",
    )
    modifier = item(
        InversionRecovery="NO",
        FlowCompensation="NONE",
        Spoiling="RF",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    imaging = item(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=63.8,
        PixelBandwidth="200",
    )
    timing = item(
        RepetitionTime="12",
        FlipAngle="20",
        EchoTrainLength=1,
        RFEchoTrainLength=0,
        GradientEchoTrainLength=1,
        SpecificAbsorptionRateSequence=[rates],
        GradientOutputType="DB_DT",
        GradientOutput=1.0,
        OperatingModeSequence=[mode],
    )
    return {
        "MRTimingAndRelatedParametersSequence": timing,
        "MRFOVGeometrySequence": geometry,
        "MREchoSequence": item(EffectiveEchoTime=4.0),
        "MRModifierSequence": modifier,
        "MRImagingModifierSequence": imaging,
        "MRReceiveCoilSequence": receive,
        "MRTransmitCoilSequence": transmit,
        "MRAveragesSequence": item(NumberOfAverages="1"),
    }


def write_enhanced_mr(path: Path) -> Path:
    """Enhanced MR with the attributes of a pulse sequence."""
    kind = {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE",
        "AcquisitionContrast": "T1",
    }
    shared = {
        "PixelMeasuresSequence": item(PixelSpacing=["0.9", "0.9"], SliceThickness="3"),
        "PlaneOrientationSequence": item(ImageOrientationPatient=ORIENTATION),
        "FrameAnatomySequence": item(FrameLaterality="U", AnatomicRegionSequence=[code(*ANATOMY)]),
        "PixelValueTransformationSequence": item(
            RescaleIntercept="0", RescaleSlope="1", RescaleType="US"
        ),
        "FrameVOILUTSequence": item(WindowCenter="400", WindowWidth="800"),
        "MRImageFrameTypeSequence": item(
            FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], **kind
        ),
        **acquisition(),
    }
    pulse = {
        "PulseSequenceName": "fl3d",
        "MRAcquisitionType": "3D",
        "EchoPulseSequence": "GRADIENT",
        "MultiPlanarExcitation": "NO",
        "PhaseContrast": "NO",
        "TimeOfFlightContrast": "NO",
        "SteadyStatePulseSequence": "NONE",
        "EchoPlanarPulseSequence": "NO",
        "SaturationRecovery": "NO",
        "SpectrallySelectedSuppression": "NONE",
        "OversamplingPhase": "NONE",
        "GeometryOfKSpaceTraversal": "RECTILINEAR",
        "RectilinearPhaseEncodeReordering": "LINEAR",
        "SegmentedKSpaceTraversal": "SINGLE",
        "CoverageOfKSpace": "FULL",
        "NumberOfKSpaceTrajectories": 1,
        "BulkMotionCompensationTechnique": "NONE",
    }
    dataset = common(
        "4.1",
        "MR",
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        FrameOfReferenceUID=f"{ROOT}.9",
        PositionReferenceIndicator="",
        AcquisitionDateTime="20200102101214",
        AcquisitionDuration=1.0,
        ContentQualification="PRODUCT",
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        PresentationLUTShape="IDENTITY",
        AcquisitionContextSequence=[],
        ResonantNucleus="1H",
        KSpaceFiltering="NONE",
        ApplicableSafetyStandardAgency="IEC",
        MagneticFieldStrength=1.5,
        BitsStored=12,
        **kind,
        **pulse,
        **dimensions(),
        **groups(shared, [frame_groups(number) for number in range(FRAMES)]),
    )
    return save(path, dataset, noise(FRAMES, 30, 40))


CLASSES: dict[str, Callable[[Path], Path]] = {
    "US cine": write_ultrasound,
    "XA cine": write_angiography,
    "MG": write_mammogram,
    "Enhanced CT": write_enhanced_ct,
    "Enhanced CT by frame": lambda path: write_enhanced_ct(path, shared=False),
    "Enhanced MR": write_enhanced_mr,
}
"""All of these, by names for people."""
