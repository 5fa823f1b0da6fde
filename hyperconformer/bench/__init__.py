"""Time and memory of mixers, encoder and training step, ours and SpeechBrain's, measured alike."""
