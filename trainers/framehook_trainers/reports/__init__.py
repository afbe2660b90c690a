"""Reports: what a person reads and looks at to judge a run."""

from framehook_trainers.reports.card import model_card
from framehook_trainers.reports.run import write_plots, write_run_report, write_text

__all__ = ["model_card", "write_plots", "write_run_report", "write_text"]
