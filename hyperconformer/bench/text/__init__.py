"""Text classifiers of equal size: what a mixer costs and gains."""
