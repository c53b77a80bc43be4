"""The header of a new DICOM series: what holds of its source, and what is new."""

from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from typing import Any

from framefill.data.dicom import DicomHeader
from framefill.data.dicom_library import damage

DERIVATION = "Frames filled in by a model (framefill)"
STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
# What a header tells of the frames that were, not of those that are written.
OUTDATED = (
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
    *("DimensionIndexSequence", "DimensionOrganizationSequence", "DimensionOrganizationType"),
    *("NumberOfFrames", "FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate"),
    *("RecommendedDisplayFrameRate", "StartTrim", "StopTrim", "EffectiveDuration"),
    *("RepresentativeFrameNumber", "FrameNumbersOfInterest", "GridFrameOffsetVector"),
    *("AcquisitionTime", "AcquisitionDateTime", "TriggerTime", "FrameReferenceTime"),
    *("TemporalPositionIndex", "TemporalPositionIdentifier", "NumberOfTemporalPositions"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries"),
    *("LargestPixelValueInSeries", "SliceLocation", "IconImageSequence", "PlanarConfiguration"),
    *("MACParametersSequence", "DigitalSignaturesSequence", "EncryptedAttributesSequence"),
    *("SeriesNumber", "RescaleType"),
    *(
        f"{kind}{color}PaletteColorLookupTable{part}"
        for kind in ("", "Segmented")
        for color in ("Red", "Green", "Blue", "Alpha")
        for part in ("Descriptor", "Data")
    ),
)
# Nor of frames of another size.
SPATIAL = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SequenceOfUltrasoundRegions"),
)
OVERLAYS, CURVES, PIXELS = range(0x6000, 0x6100), range(0x5000, 0x5100), range(0x7FE0, 0x10000)


def template_for(ours: DicomHeader | None, size: tuple[int, ...], channels: int, film: bool) -> Any:
    """Return a data set without pixels, for all files of the new series."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    new, kept = Dataset(), ""
    if ours is not None:
        old = _parsed(ours)
        alike = (int(old.get("NumberOfFrames") or 1) > 1) == film
        alike = alike and "PerFrameFunctionalGroupsSequence" not in old
        samples = 3 if old.PhotometricInterpretation == "PALETTE COLOR" else old.SamplesPerPixel
        kept = str(old.get("SOPClassUID", "")) if alike and samples == channels else ""
        stale = OUTDATED if ours.size == size else (*OUTDATED, *SPATIAL)
        for element in _usable(old, stale):
            new.add(element)
    for keyword in STUDY:
        if keyword not in new:
            setattr(new, keyword, "")
    now = datetime.now()
    new.InstanceCreationDate = new.ContentDate = now.strftime("%Y%m%d")
    new.InstanceCreationTime = new.ContentTime = now.strftime("%H%M%S.%f")
    if ours is None:
        new.StudyDate, new.StudyTime = new.ContentDate, new.ContentTime
    new.SOPClassUID = kept
    new.StudyInstanceUID = new.get("StudyInstanceUID") or generate_uid()
    new.SeriesInstanceUID = generate_uid()
    new.SeriesNumber = None
    new.Modality = new.get("Modality") or "OT"
    if not kept:
        new.ConversionType = "SYN"
    new.ImageType, new.InstanceNumber = ["DERIVED", "SECONDARY"], 1
    new.SeriesDescription, new.DerivationDescription = "framefill", DERIVATION
    new.file_meta = FileMetaDataset()
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return new


def _parsed(ours: DicomHeader) -> Any:
    from pydicom.filereader import read_dataset

    return read_dataset(BytesIO(ours.head), ours.implicit, ours.little)


def _usable(old: Any, stale: tuple[str, ...]) -> Iterator[Any]:
    """Return the elements of a source that still hold, and that can be written."""
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    for tag in list(old.keys()):
        other = tag.group in OVERLAYS or tag.group in CURVES or tag.group in PIXELS
        if tag.is_private or other or tag.group < 8:
            continue
        try:
            element, alone = old[tag], Dataset()
            if element.keyword in stale:
                continue
            alone.PixelRepresentation = int(old.get("PixelRepresentation", 0))
            alone.add(element)
            buffer = DicomBytesIO()
            buffer.is_little_endian, buffer.is_implicit_VR = True, False
            write_dataset(buffer, alone)
        except damage():
            continue
        yield alone[tag]
