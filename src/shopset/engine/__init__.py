"""Observe, plan, act: one path for the command line, the controller and whatever else drives a fleet."""

from shopset.engine.engines import Engine, Failure, Outcome
from shopset.engine.rounds import Round, TooManyRacesError, Watching, converge, pause_until

__all__ = ["Engine", "Failure", "Outcome", "Round", "TooManyRacesError", "Watching", "converge", "pause_until"]
