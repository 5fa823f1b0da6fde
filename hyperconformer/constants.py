"""The numbers that everything agrees on."""

# Audio inside the house is mono at this rate, in Hz.
SAMPLE_RATE = 16_000

# Token ids, as in SpeechBrain's LibriSpeech tokenizers: 0 is at once CTC blank, unknown and padding.
BLANK, BEGIN, END = 0, 1, 2
