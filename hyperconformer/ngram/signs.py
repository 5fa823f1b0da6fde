"""The three signs that every n-gram model has beside its words."""

SIGNS = ("<unk>", "<s>", "</s>")
UNKNOWN, BEGIN_WORD, END_WORD = range(3)
"""Their ids; words follow."""
