"""The recogniser, assembled from the building blocks and one token mixer."""
