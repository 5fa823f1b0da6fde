"""The training recipe: settings, losses, SpeechBrain's loop around them, and what it leaves behind."""
