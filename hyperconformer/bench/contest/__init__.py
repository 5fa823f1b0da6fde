"""Recognisers of equal size on the same speech: which of them is better, and by how much."""
