"""The doctor: is the data sane, and can a model learn it?

It ends with what to change, as commands that can be pasted.
"""

from framefill.doctor.asked import Asked
from framefill.doctor.examination import doctor
from framefill.doctor.report import Finding, Overfit, Report, Speed
from framefill.doctor.show import print_report

__all__ = [
    "Asked",
    "Finding",
    "Overfit",
    "Report",
    "Speed",
    "doctor",
    "print_report",
]
