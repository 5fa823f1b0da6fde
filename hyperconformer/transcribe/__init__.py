"""Audio files to text: the command."""
