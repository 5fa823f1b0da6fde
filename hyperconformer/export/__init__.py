"""A model folder in other programs' formats, and theirs as a model folder."""
