"""Trainings of many systems, each in a process of its own: what is asked, what is done, how it is told."""
