"""Gymnasium's CarRacing, with pictures that cost little."""

from rlft.envs.racing.driver import PurePursuitDriver
from rlft.envs.racing.factory import Racing

__all__ = ["PurePursuitDriver", "Racing"]
