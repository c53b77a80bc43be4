"""Plans: what a training will cost on this machine, measured before it begins.

What is measured is a few real steps, in processes of their own that may run out of memory.
"""

from framefill.estimate.command import plan_into
from framefill.estimate.planner import SECONDS, make_plan
from framefill.estimate.result import Divided, Plan, Tried
from framefill.estimate.show import print_plan

__all__ = ["SECONDS", "Divided", "Plan", "Tried", "make_plan", "plan_into", "print_plan"]
