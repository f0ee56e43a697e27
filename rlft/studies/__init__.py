"""Studies: many runs of `rlft` that a file describes; made once, in any number of sittings."""
