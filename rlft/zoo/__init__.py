"""Policies that come with rlft; `rlft.policies` reads them, `python -m rlft.zoo NAME` makes them anew."""
