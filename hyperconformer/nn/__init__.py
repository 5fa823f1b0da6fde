"""Building blocks in plain torch: masks, positions, feed-forward, attention, convolution, subsampling."""
