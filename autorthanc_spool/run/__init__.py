"""One marker, one straight line: the loop, the processor, and what they do for each rule."""
