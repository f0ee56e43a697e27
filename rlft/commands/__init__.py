"""The commands of `rlft` but `fit` and `validate`, one file each; none of them imports Lightning."""
