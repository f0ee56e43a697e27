"""Episodes as films: chosen, drawn in a process of their own, captioned, and written."""
