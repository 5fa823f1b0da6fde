"""Decoding whole test sets: word error rates and speed of any search, and the weights that suit a dev set."""
