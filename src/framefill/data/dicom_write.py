"""Videos as DICOM: a series in a folder, or a film in one file."""

import copy
from pathlib import Path
from typing import Any

import numpy as np

from framefill.data.clock import seconds
from framefill.data.dicom import DicomHeader
from framefill.data.dicom_library import guarded, load_pydicom, quiet
from framefill.data.dicom_pixels import Pixels, decimal, pixels_of
from framefill.data.dicom_template import template_for
from framefill.data.scale import Scale
from framefill.data.steps import even_step
from framefill.data.video import Video
from framefill.errors import InputError

FILES = (".dcm", ".dicom")
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage
FILMS = {(1, 8): f"{SECONDARY}.2", (1, 16): f"{SECONDARY}.3", (3, 8): f"{SECONDARY}.4"}


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
        template = template_for(ours, video.frames.shape[1:3], channels, film)
    pixels = pixels_of(video, ours, film, int(template.get("BitsStored", 0)), name)
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


def _milliseconds(value: float) -> str:
    return decimal(round(1000 * value, 9))


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
            decimal(scale.slope),
            decimal(scale.intercept),
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
            image.ImagePositionPatient = [decimal(each) for each in ours.positions[number]]
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
