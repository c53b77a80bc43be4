"""The report of an evaluation: everything that a stranger needs to repeat it, and its rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framefill.evaluation.measures import BASELINES, MODEL, TRUTH
from framefill.evaluation.results import Results
from framefill.evaluation.sets import SetScores
from framefill.metrics.scores import MetricName, Summary
from framefill.protocols.protocol import Protocol
from framefill.protocols.table import COLUMNS, TableRow, markdown
from framefill.serialise import to_data

FORMAT = 1
PLACES = {"PSNR": 2, "MSE": 4, "CRPS": 4, "Brier": 4, "FVD": 1, "KVD": 2, "CD-FVD": 1}
HIGHER = ("PSNR", "SSIM")  # is better
NAMES: dict[MetricName, str] = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "mse": "MSE"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a model came to under a protocol.

    Attributes:
        protocol: As it was carried out.
        marks: What of it is not as the protocol of that name says.
        left_out: By score, why it is missing.
        results: All numbers.
        method: Name of the model in rows.
        walk: The sampler in a few words.
        request: All that decides the results: protocol, data, model, settings, weights.
        made: Where, when and how it was made, which decides nothing.
    """

    protocol: Protocol
    marks: list[str]
    left_out: dict[str, str]
    results: Results
    method: str
    walk: str
    request: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[TableRow]:
        """The model's best and mean trajectory, and the baselines, each with size and marks."""
        results, count, rows = self.results, self.results.trajectories, []
        if count > 1 and MODEL in results.videos:
            best = self._of_videos(results.videos[MODEL].best)
            rows.append(TableRow(f"{self.method}, best of {count}", best, self.note))
        mean = f"{self.method}, mean of {count}" if rows else self.method
        for name in (MODEL, *BASELINES, TRUTH):
            values = self._of_videos(self._average(name)) | self._of_all(name)
            if values or name == MODEL:
                method = {MODEL: mean, TRUTH: "the true videos"}.get(name, name)
                note = self.note if name == MODEL else self._of_clips(filled=False)
                rows.append(TableRow(method, values, note))
        return rows

    @property
    def note(self) -> str:
        """How many clips, how they were filled, and what is not as the protocol says."""
        return self._of_clips(filled=True)

    def _of_clips(self, *, filled: bool) -> str:
        """Return the note of a row, of one that the model filled or of another."""
        results, count = self.results, self.results.trajectories
        note = f"{results.clips} clip{'s' * (results.clips > 1)}"
        if results.unscored:
            note += f", {results.unscored} of them without anything to score"
        if filled:
            note += ("" if count == 1 else f", {count} trajectories each") + f"; {self.walk}"
        if results.sets and (real := results.sets[MODEL].real) < results.clips:
            note += f"; sets of the {real} clips without gaps"
        if any(each.deficient for each in results.sets.values()):
            note += "; fewer videos than features"
        return note + f"; NOT AS THE PROTOCOL SAYS: {', '.join(self.marks)}" * bool(self.marks)

    @property
    def verdicts(self) -> list[str]:
        """How the model's mean trajectory compares with the baselines, in a sentence each."""
        said, won = [], []
        for score, value in self._compared(MODEL).items():
            theirs = {
                name: each
                for name in BASELINES
                if (each := self._compared(name).get(score)) is not None
            }
            # How much better the model is, whichever way is better.
            leads = {
                name: value - each if score in HIGHER else each - value
                for name, each in theirs.items()
            }
            ahead = ", ".join(
                f"{name} ({_number(score, theirs[name])})"
                for name, lead in leads.items()
                if lead < 0
            )
            if ahead:
                said.append(f"{score}: the model ({_number(score, value)}) loses to {ahead}")
            elif leads and min(leads.values()) > 0:
                won.append(score)
        if won:
            said.append(f"{', '.join(won)}: the model is ahead of every baseline")
        return said

    def _compared(self, filling: str) -> dict[str, float]:
        """Return what a filling is compared by; an infinite PSNR is one, what is missing isn't."""
        results = self.results
        found = {
            NAMES[metric]: math.inf if summary.infinite else summary.mean
            for metric, summary in self._average(filling).items()
        }
        if filling in results.crps:
            found["CRPS"] = results.crps[filling].mean
        found |= {f"Brier >{at}": t.brier[filling].mean for at, t in results.thresholds.items()}
        if filling in results.sets:
            found["FVD"] = results.sets[filling].fvd
        return {score: value for score, value in found.items() if value is not None}

    def markdown(self) -> str:
        """Return the rows as a Markdown table."""
        return markdown(self.rows, self.columns)

    @property
    def columns(self) -> list[str]:
        """The columns that rows may have, in their order."""
        return [*COLUMNS, *(f"Brier >{at}" for at in self.results.thresholds)]

    def data(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        results = {
            name: value for name, value in to_data(self.results).items() if name != "per_clip"
        }
        return {
            "format": FORMAT,
            **self.request,
            "marks": self.marks,
            "left_out": self.left_out,
            "results": results,
            "verdicts": self.verdicts,
            "rows": [to_data(row) for row in self.rows],
            "made": dict(self.made),
        }

    def _average(self, filling: str) -> Mapping[MetricName, Summary]:
        found = self.results.videos.get(filling)
        asked = {} if found is None else found.average
        return {name: asked[name] for name in NAMES if name in {*asked} & {*self.protocol.scores}}

    def _of_videos(self, scores: Mapping[MetricName, Summary]) -> dict[str, str]:
        """Return the cells of single videos."""
        asked = [name for name in NAMES if name in scores and name in self.protocol.scores]
        return {NAMES[name]: _cell(NAMES[name], scores[name]) for name in asked}

    def _of_all(self, filling: str) -> dict[str, str]:
        """Return the cells of all trajectories together: as a set, and as a forecast."""
        results = self.results
        cells: dict[str, str] = {}
        if filling in results.sets:
            cells |= _set_cells(results.sets[filling])
        if filling in results.crps:
            cells["CRPS"] = _cell("CRPS", results.crps[filling])
            for at, each in results.thresholds.items():
                cells[f"Brier >{at}"] = _cell("Brier", each.brier[filling])
        ensemble = results.ensemble
        if filling == MODEL and ensemble is not None and ensemble.spread_skill is not None:
            cells["spread/skill"] = f"{ensemble.spread_skill:.2f}"
        return cells


def _cell(score: str, summary: Summary) -> str:
    if summary.mean is None:
        return "infinite" if summary.infinite else "-"
    spread = "" if summary.confidence is None else f" ± {_number(score, summary.confidence)}"
    return f"{_number(score, summary.mean)}{spread}"


def _number(score: str, value: float) -> str:
    """Return a score with the places that it is given with; more where these would be zeros."""
    places = PLACES.get(score.split(" ")[0], 3)
    small = 0 < abs(value) < 0.5 * 10**-places
    return f"{value:.2g}" if small else f"{value:.{places}f}"


def _set_cells(scores: SetScores) -> dict[str, str]:
    cells = {}
    for column, value in (("FVD", scores.fvd), ("KVD", scores.kvd), ("CD-FVD", scores.cd_fvd)):
        if value is not None:
            cells[column] = _number(column, value)
    each = scores.fvd_of_trajectories
    if each is not None and each.confidence is not None:
        cells["FVD per trajectory"] = _cell("FVD", each)
    if scores.inception is not None:
        cells["IS"] = f"{scores.inception:.2f} ± {scores.inception_std:.2f}"
    return cells
