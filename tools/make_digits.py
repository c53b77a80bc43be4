"""Write the small file of handwritten digits that the package carries.

The source is the UCI "Optical Recognition of Handwritten Digits" test set as scikit-learn ships it
(`pip install scikit-learn`). Run once: `python tools/make_digits.py`.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

OUT = Path(__file__).parents[1] / "src" / "framefill" / "data" / "digits.npz"


def main() -> None:
    """Write 1,797 images of 8 x 8 pixels with values 0..16, and their labels."""
    source = load_digits()
    np.savez_compressed(
        OUT, images=source.images.astype(np.uint8), labels=source.target.astype(np.uint8)
    )
    print(f"{OUT}: {OUT.stat().st_size:,} bytes, {len(source.images)} digits")


if __name__ == "__main__":
    main()
