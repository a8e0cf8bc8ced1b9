"""Releasing: what a revision is, what was recorded and observed of it, and the plan that brings it up the tiers."""
