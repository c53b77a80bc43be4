"""Put a trained digits model into the package: `python tools/carry_model.py RUN DEMO`.

RUN is a finished run of the recipe `digits`, DEMO the folder that `framefill demo --train` wrote
with it. Weights are stored in half precision, which halves the file; the scores on the card are
those of the weights before that.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from framefill.model import load_model

OUT = Path(__file__).parents[1] / "src" / "framefill" / "models" / "digits"


def main(run: Path, demo: Path) -> None:
    """Write the model folder of the package, with scores and training time on its card."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    minutes = json.loads(lines[-1])["seconds"] / 60
    scores = json.loads((demo / "scores.json").read_text())
    card = load_model(run / "model").card
    card += (
        f"\nTrained in {minutes:.1f} minutes on 2 CPU cores.\n\n## Scores\n\n{score_table(scores)}"
    )
    model = replace(load_model(run / "model"), card=card)
    model.save(OUT, dtype="float16", overwrite=True)
    print(f"{OUT}: {sum(path.stat().st_size for path in OUT.iterdir()):,} bytes")


def score_table(scores: list[dict[str, float | str | None]]) -> str:
    """Return the demo's scores as a Markdown table."""
    head = (
        f"Means over {scores[0]['clips']} held-out clips, of the frames that were filled in, one "
        "sample each.\n\n"
        "| task | frames | PSNR | copy last | SSIM | copy last | seconds per clip |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = []
    for score in scores:
        cells = [f"`{score['row']}`"]
        for key, digits in (("psnr", 2), ("copy_psnr", 2), ("ssim", 3), ("copy_ssim", 3)):
            value = score[key]
            cells.append("" if value is None else f"{value:.{digits}f}")
        cells.append(f"{score['seconds']:.2f}")
        rows.append(f"| {score['task']} | {' | '.join(cells)} |\n")
    return head + "".join(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
