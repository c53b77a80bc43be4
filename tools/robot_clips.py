"""Write the camera pictures of Open-X robot data (RLDS TFRecord files) as arrays to train on.

    pip install tfrecord
    python tools/robot_clips.py FOLDER_WITH_TRAIN_AND_TEST_TFRECORD robot/

Each episode's cameras become robot/train/EPISODE-CAMERA.npy and robot/test/..., [f h w c] of uint8;
cameras that are black throughout are left out.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tfrecord.reader import tfrecord_loader

PREFIX = "steps/observation/image_"


def write_cameras(source: Path, out: Path) -> int:
    """Write the cameras of all episodes of a file and return how many were written."""
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    for episode, record in enumerate(tfrecord_loader(str(source), None)):
        for name in sorted(name for name in record if name.startswith(PREFIX)):
            pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in record[name]]
            frames = np.stack([np.asarray(picture) for picture in pictures])
            if frames.any():
                np.save(out / f"{episode:02}-{name.removeprefix(PREFIX)}.npy", frames)
                written += 1
    return written


def main() -> None:
    """Convert the two parts."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER_WITH_TRAIN_AND_TEST_TFRECORD OUT")
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    if out.exists():
        sys.exit(f"{out} exists: choose another folder")
    for part in ("train", "test"):
        print(f"{part}: {write_cameras(source / f'{part}.tfrecord', out / part)} clips")


if __name__ == "__main__":
    main()
