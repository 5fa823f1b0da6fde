"""Word n-grams: counted, smoothed by Kneser and Ney's method, written as ARPA, asked word by word."""
