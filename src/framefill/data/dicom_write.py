"""Videos as DICOM: a series in a folder, or a film in one file."""

import copy
import warnings
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from framefill.data.clock import seconds
from framefill.data.dicom import DicomHeader, damage, guarded, load_pydicom, quiet
from framefill.data.nifti import Scale, even_step, restored
from framefill.data.video import Video
from framefill.errors import FillWarning, InputError

FILES = (".dcm", ".dicom")
LONGEST = 2**32 - 2  # bytes of the pixels of a file
STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
EXACT = 0.13  # of a step, by which values may be off, as an eighth may be due to single precision
DERIVATION = "Frames filled in by a model (framefill)"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage
FILMS = {(1, 8): f"{SECONDARY}.2", (1, 16): f"{SECONDARY}.3", (3, 8): f"{SECONDARY}.4"}
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


class Pixels(NamedTuple):
    """Frames as they are stored.

    Args:
        numbers: What is stored.
        scales: Of each frame.
        padding: The number that stands for a missing value.
        bits: That are used.
    """

    numbers: Shaped[np.ndarray, "f h w c"]
    scales: tuple[Scale, ...]
    padding: int | None
    bits: int


def write_dicom(path: Path, video: Video) -> None:
    """Write a video as DICOM, uncompressed: one file if the path ends in .dcm, else a folder.

    The images are marked as derived, by a model, and get a series of their own. A DICOM source's
    patient, study and description of the device are kept, not what concerns its old frames alone,
    private elements, overlays and signatures. Its class is kept if it has one frame for each file
    as well, or is a film as well; otherwise, and without a source, they are Secondary Captures with
    nothing of a patient. Slices of a stack keep their positions if there are as many as before, and
    have none otherwise; frames of another size have no sizes of pixels and no positions.

    Values that came from the source get the stored numbers that they had. Floats of other formats
    are stored in 65535 steps, with a warning.

    Raises:
        InputError: pydicom isn't installed; the frames have neither 1 nor 3 channels, or colors
            that are floats; a value is missing, and no number stands for that; or a file would
            pass 4 GiB.
    """
    load_pydicom()
    name, found = video.source or "the video", video.header
    ours: DicomHeader | None = found.content if found and found.format == ".dcm" else None
    channels = video.frames.shape[3]
    if channels not in (1, 3):
        raise InputError(f"{name} has {channels} channels, and DICOM 1 or 3: choose .npy or .tif")
    film = path.suffix.lower() in FILES
    with guarded(name):
        template = _template(ours, video.frames.shape[1:3], channels, film)
    pixels = _pixels(video, ours, film, int(template.get("BitsStored", 0)), name)
    with quiet():
        if film:
            _set_pixels(template, pixels, slice(None), video.units)
            _set_rate(template, video)
            _save(template, path)
            return
        path.mkdir()
        digits = max(4, len(str(len(video.frames) - 1)))
        for number in range(len(video.frames)):
            image = copy.deepcopy(template)
            _set_pixels(image, pixels, slice(number, number + 1), video.units)
            _set_place(image, video, ours, number)
            _save(image, path / f"frame_{number:0{digits}}.dcm")


def _pixels(video: Video, ours: DicomHeader | None, film: bool, bits: int, name: str) -> Pixels:
    """Return what to store for the frames of a video."""
    frames, missing, back = video.frames, None, restored(video)
    scales: tuple[Scale, ...] = (Scale(),)
    dtype = frames.dtype
    if frames.dtype.kind == "f":
        dtype, scales = np.dtype("uint16"), ()
        if ours is not None and ours.dtype in STORED:
            dtype, scales, missing = np.dtype(ours.dtype), ours.scales, ours.padding
        elif back is not None and back[0].name in STORED:
            (dtype, missing), scales = back, (Scale(),)
        elif frames.shape[3] == 3:
            raise InputError(f"{name} has colors that are floats: choose .npy or .tif")
    limits = np.iinfo(dtype.name)
    if missing is None or dtype.itemsize > 2 or not limits.min <= missing <= limits.max:
        missing = None
    if not scales and missing is None and np.isnan(frames).any():
        missing = float(limits.min)
    padding = None if missing is None else int(missing)
    numbers, used = np.empty(frames.shape, dtype), []
    size = frames.size * dtype.itemsize
    if film and size > LONGEST:
        raise InputError(f"{name} takes {size} bytes, and a DICOM file 4 GiB: give a folder's name")
    for part in [slice(None)] if film else [slice(n, n + 1) for n in range(len(frames))]:
        if dtype == frames.dtype:
            numbers[part], scale = frames[part], Scale()
        else:
            scale = _scale(frames[part], dtype, scales, padding)
            numbers[part] = scale.stored(frames[part], dtype, padding, name)
        used.append(scale)
    strange = sum(scale not in scales for scale in used)
    if strange:
        warnings.warn(
            f"{name}: floats are stored as integers in steps of {used[-1].slope:.3g}, with which "
            ".npy does without",
            FillWarning,
            stacklevel=3,
        )
    whole = dtype.itemsize * 8
    if bits and bits < whole:
        low, high = (
            (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
        ends = (int(numbers.min()), int(numbers.max()), low if padding is None else padding)
        bits = bits if low <= min(ends) and max(ends) <= high else whole
    return Pixels(numbers, tuple(used), padding, bits if 0 < bits <= whole else whole)


def _scale(
    values: Shaped[np.ndarray, "f h w c"],
    dtype: np.dtype[np.generic],
    scales: tuple[Scale, ...],
    padding: int | None,
) -> Scale:
    """Return the scale that values had, or else one of their own."""
    if len(scales) == 1:
        return scales[0]
    limits, finite = np.iinfo(dtype.name), values[np.isfinite(values)].astype(np.float64)
    low, high = limits.min + (padding == limits.min), limits.max - (padding == limits.max)
    if not finite.size:
        return scales[0] if scales else Scale()
    # Values that are whole in large steps are so in a part of these steps, too.
    for scale in sorted(scales, key=lambda each: -abs(each.slope)):
        numbers = (finite - scale.intercept) / scale.slope
        inside = numbers.min() > limits.min - 1 and numbers.max() < limits.max + 1
        if inside and np.abs(numbers - np.rint(numbers)).max() < EXACT:
            return scale
    least, most = float(finite.min()), float(finite.max())
    slope = _written((most - least) / (high - low) * (1 + 1e-9)) or 1.0
    return Scale(slope, _written(least - low * slope))


def _written(value: float) -> float:
    """Return what is left of a number when it is written in 16 characters."""
    return float(_decimal(value))


def _decimal(value: float) -> str:
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))


def _milliseconds(value: float) -> str:
    return _decimal(round(1000 * value, 9))


def _template(ours: DicomHeader | None, size: tuple[int, ...], channels: int, film: bool) -> Any:
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


def _set_pixels(image: Any, pixels: Pixels, part: slice, units: str) -> None:
    from pydicom.uid import generate_uid

    numbers, scale = pixels.numbers[part], pixels.scales[part][0]
    count, height, width, channels = numbers.shape
    depth, signed = numbers.dtype.itemsize * 8, numbers.dtype.kind == "i"
    image.SamplesPerPixel = channels
    white = channels == 1 and image.get("PhotometricInterpretation") == "MONOCHROME1"
    gray = "MONOCHROME1" if white else "MONOCHROME2"
    image.PhotometricInterpretation = "RGB" if channels == 3 else gray
    if channels == 3:
        image.PlanarConfiguration = 0
    image.Rows, image.Columns, image.BitsAllocated = height, width, depth
    image.BitsStored, image.HighBit, image.PixelRepresentation = (
        pixels.bits,
        pixels.bits - 1,
        int(signed),
    )
    if pixels.padding is not None:
        image.add_new("PixelPaddingValue", "SS" if signed else "US", pixels.padding)
    if scale != Scale() or units:
        image.RescaleSlope, image.RescaleIntercept = (
            _decimal(scale.slope),
            _decimal(scale.intercept),
        )
        image.RescaleType = units[:64] or "US"
    if not image.SOPClassUID:
        film = len(pixels.scales) == 1 and count > 1
        image.SOPClassUID = FILMS.get((channels, depth), SECONDARY) if film else SECONDARY
    image.SOPInstanceUID = generate_uid()
    raw = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes()
    image.add_new("PixelData", "OW" if depth > 8 else "OB", raw + b"\0" * (len(raw) % 2))


def _set_rate(image: Any, video: Video) -> None:
    """Tell the times of the frames of a film."""
    image.NumberOfFrames = len(video.frames)
    step = even_step(video.times) or (1 / video.fps if video.fps else None)
    if video.times is not None and len(video.times) > 1 and even_step(video.times) is None:
        steps = [0.0, *np.diff(seconds(video.times)).tolist()]
        image.FrameTimeVector = [_milliseconds(each) for each in steps]
        image.FrameIncrementPointer = 0x00181065
    elif step:
        image.FrameTime, image.FrameIncrementPointer = _milliseconds(step), 0x00181063
    if video.times is not None and video.times.dtype.kind == "M":
        day, time = _moment(video.times[0])
        image.AcquisitionDateTime = day + time


def _set_place(image: Any, video: Video, ours: DicomHeader | None, number: int) -> None:
    """Tell the place of a frame in time and space."""
    image.InstanceNumber = number + 1
    times, clock = video.times, "reference" if ours is None else ours.clock
    if times is None and video.fps:
        times = np.arange(len(video.frames)) / video.fps
    if times is not None and times.dtype.kind == "M":
        image.AcquisitionDate, image.AcquisitionTime = _moment(times[number])
    elif times is not None and clock == "acquired":
        since = np.timedelta64(round(float(times[number]) * 1e9), "ns")
        image.AcquisitionTime = _moment(np.datetime64("1970-01-01", "ns") + since)[1]
    elif times is not None:
        keyword = "TriggerTime" if clock == "trigger" else "FrameReferenceTime"
        setattr(image, keyword, _milliseconds(float(times[number])))
    if ours is not None and ours.positions:
        if len(ours.positions) == len(video.frames) and ours.size == video.frames.shape[1:3]:
            image.ImagePositionPatient = [_decimal(each) for each in ours.positions[number]]
        elif "ImagePositionPatient" in image:
            del image.ImagePositionPatient


def _moment(moment: np.datetime64) -> tuple[str, str]:
    """Return a date and a time of day in DICOM's form."""
    day, _, time = str(moment.astype("datetime64[us]")).partition("T")
    return day.replace("-", ""), time.replace(":", "").rstrip("0").rstrip(".").ljust(6, "0")


def _save(image: Any, path: Path) -> None:
    from pydicom import config, dcmwrite

    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    with config.disable_value_validation():
        dcmwrite(path, image, enforce_file_format=True)
