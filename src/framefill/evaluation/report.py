"""The report of an evaluation: everything that a stranger needs to repeat it, and its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framefill.evaluation.measures import BASELINES, MODEL, TRUTH
from framefill.evaluation.results import Results, SetScores
from framefill.metrics.scores import BEST, MetricName, Summary
from framefill.protocols.protocol import Protocol
from framefill.protocols.table import COLUMNS, TableRow, markdown
from framefill.serialise import to_data

FORMAT = 1
DIGITS = {"psnr": 2, "mse": 4, "crps": 4, "fvd": 1, "kvd": 2, "cd_fvd": 1, "inception": 2}
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
        """The model's best and mean trajectory, and the baselines."""
        results, count = self.results, self.results.trajectories
        note = f"{self._size}; {self.walk}"
        if self.marks:
            note += f"; NOT AS THE PROTOCOL SAYS: {', '.join(self.marks)}"
        rows = []
        if count > 1 and MODEL in results.videos:
            best = self._values(MODEL, results.videos[MODEL].best)
            rows.append(TableRow(f"{self.method}, best of {count}", best, note))
        mean = f"{self.method}, mean of {count}" if rows else self.method
        rows.append(TableRow(mean, self._values(MODEL, self._average(MODEL), whole=True), note))
        for name in BASELINES:
            if name in results.videos:
                values = self._values(name, self._average(name), whole=True)
                rows.append(TableRow(name, values, ""))
        if TRUTH in results.sets and results.sets[TRUTH].inception is not None:
            rows.append(TableRow("the true videos", self._values(TRUTH, {}), ""))
        return rows

    @property
    def verdicts(self) -> list[str]:
        """How the model's mean trajectory compares with the baselines, in a sentence each."""
        own = self._average(MODEL)
        said = []
        for metric, summary in own.items():
            if metric == "mse" or summary.mean is None:
                continue
            ahead = {
                name: theirs
                for name in BASELINES
                if name in self.results.videos
                and (theirs := self._average(name)[metric].mean) is not None
                and BEST[metric]((theirs, summary.mean)) == theirs
            }
            places = DIGITS.get(metric, 3)
            listed = ", ".join(f"{name} ({value:.{places}f})" for name, value in ahead.items())
            if listed:
                said.append(
                    f"{NAMES[metric]} {summary.mean:.{places}f}: the model loses to {listed}"
                )
        if said or not own:
            return said
        return ["the model's mean trajectory is ahead of every baseline in every score"]

    def markdown(self) -> str:
        """Return the rows as a Markdown table."""
        return markdown(self.rows, COLUMNS)

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

    @property
    def _size(self) -> str:
        count = self.results.trajectories
        videos = f"{self.results.clips} clips"
        if self.results.unscored:
            videos += f", {self.results.unscored} of them without anything to score"
        return videos if count == 1 else f"{videos}, {count} trajectories each"

    def _average(self, filling: str) -> Mapping[MetricName, Summary]:
        found = self.results.videos.get(filling)
        return {} if found is None else found.average

    def _values(
        self, filling: str, scores: Mapping[MetricName, Summary], *, whole: bool = False
    ) -> dict[str, str]:
        """Return a row's cells: of single videos, and of their set; with `whole` of ensembles."""
        asked = [name for name in NAMES if name in scores and name in self.protocol.scores]
        cells = {NAMES[name]: _cell(name, scores[name]) for name in asked}
        if filling in self.results.sets:
            cells |= _set_cells(self.results.sets[filling])
        ensemble = self.results.ensemble
        if whole and filling == MODEL and ensemble is not None:
            cells["CRPS"] = _cell("crps", ensemble.crps)
            if ensemble.spread_skill is not None:
                cells["spread/skill"] = f"{ensemble.spread_skill:.2f}"
        elif whole and ensemble is not None and filling in self.results.crps:
            cells["CRPS"] = _cell("crps", self.results.crps[filling])
        return cells


def _cell(name: str, summary: Summary) -> str:
    if summary.mean is None:
        return "infinite" if name == "psnr" else "-"
    places = DIGITS.get(name, 3)
    spread = "" if summary.confidence is None else f" ± {summary.confidence:.{places}f}"
    return f"{summary.mean:.{places}f}{spread}"


def _set_cells(scores: SetScores) -> dict[str, str]:
    cells = {}
    for column, name in (("FVD", "fvd"), ("KVD", "kvd"), ("CD-FVD", "cd_fvd")):
        if (value := getattr(scores, name)) is not None:
            cells[column] = f"{value:.{DIGITS[name]}f}"
    each = scores.fvd_of_trajectories
    if each is not None and each.confidence is not None:
        cells["FVD per trajectory"] = _cell("fvd", each)
    if scores.inception is not None:
        cells["IS"] = f"{scores.inception:.2f} ± {scores.inception_std:.2f}"
    return cells
