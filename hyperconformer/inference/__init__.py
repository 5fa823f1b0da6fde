"""Using a trained model: the bundle it travels in, and the transcriber that opens it."""
