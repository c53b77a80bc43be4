"""All that is wrong with data."""

from framefill.data.examine import Facts
from framefill.doctor.asked import Asked
from framefill.doctor.findings_shapes import judge_channels, judge_dtypes, judge_sizes
from framefill.doctor.findings_times import judge_stills, judge_times
from framefill.doctor.findings_values import judge_conditions, judge_gaps, judge_values
from framefill.doctor.findings_videos import (
    judge_classes,
    judge_copies,
    judge_division,
    judge_files,
    judge_lengths,
)
from framefill.doctor.report import Finding


def diagnose(facts: Facts, asked: Asked) -> list[Finding]:
    """Return what there is to say about data, in the order in which it is to be mended."""
    found: list[Finding] = []
    for examined in (
        judge_files,
        judge_division,
        judge_lengths,
        judge_sizes,
        judge_channels,
        judge_dtypes,
        judge_values,
        judge_gaps,
        judge_times,
        judge_stills,
        judge_copies,
        judge_classes,
        judge_conditions,
    ):
        found += examined(facts, asked)
    return found
