"""From log-probabilities to token ids, with the parts of their score."""
