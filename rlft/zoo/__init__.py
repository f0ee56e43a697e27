"""Policies that come with rlft; `rlft.networks.policy_files` reads them, `python -m rlft.zoo NAME` makes them anew."""
