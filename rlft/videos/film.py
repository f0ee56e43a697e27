"""A film of episodes: drawn state by state, with captions, and a contact sheet of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rlft.types import EnvStates, RecordedEpisodes, Renderer
from rlft.videos.files import write_png, writing_mp4
from rlft.videos.pictures import Picture, captioned, contact_sheet, side_by_side

FPS = 20  # ManiSkill's control frequency: films run as fast as the robot
HOLD = 10  # pictures for which the end of an episode stands still
COLUMNS = 5  # of a contact sheet


@dataclass(frozen=True)
class Take:
    """Episodes of one policy."""

    policy: str  # as the caption says it
    episodes: RecordedEpisodes  # [E]

    @property
    def numbers(self) -> list[int]:
        """Of the episodes, in the bank of evaluation."""
        numbers: list[int] = self.episodes.states.episode[:, 0].tolist()
        return numbers


@dataclass(frozen=True)
class Film:
    """What was written."""

    video: Path
    sheet: Path
    contact_sheet: Picture


def make_film(renderer: Renderer, takes: Sequence[Take], stem: Path, progress: Callable[[], None]) -> Film:
    """Writes `<stem>.mp4` and `<stem>.png`: the same episodes of one or several policies, side by side.

    Args:
        renderer: what draws.
        takes: of each policy the same episodes.
        stem: path of both files, without the ending.
        progress: called after every state that has been drawn.

    Raises:
        UserError: if something cannot be drawn or written. No file is left behind half-written then.
    """
    video, sheet = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".mp4", ".png"))
    picture = _shoot(renderer, takes, video, progress)
    write_png(sheet, picture)
    return Film(video, sheet, picture)


def _shoot(renderer: Renderer, takes: Sequence[Take], video: Path, progress: Callable[[], None]) -> Picture:
    """Writes the film and returns its contact sheet: a row for each episode of each policy."""
    renderer.aim(EnvStates.cat([_flat(take.episodes.states) for take in takes]))
    rows: list[list[Picture]] = []
    with writing_mp4(video, FPS) as add:
        for episode in range(len(takes[0].episodes)):
            shown = []
            horizon = moving(takes, episode)
            for step in range(horizon + 1):
                panels = [_panel(renderer, take, episode, step, progress) for take in takes]
                for _ in range(HOLD if step == horizon else 1):
                    add(side_by_side(panels))
                if step in columns(horizon):
                    shown.append(panels)
            rows += [list(row) for row in zip(*shown, strict=True)]
    return contact_sheet(rows)


def _panel(renderer: Renderer, take: Take, episode: int, step: int, progress: Callable[[], None]) -> Picture:
    """One policy's picture of one state, with its caption."""
    states = take.episodes.states[[episode]][:, step]
    (picture,) = renderer.frames(states)
    progress()
    text, good = caption(int(states.episode), step, take.episodes.success[episode])
    return captioned(picture, take.policy, text, good=good)


def moving(takes: Sequence[Take], episode: int) -> int:
    """After how many env steps nothing changes any more in an episode of any of the takes; 1 at least."""
    last = 1
    for take in takes:
        states = take.episodes.states.physics[episode]  # [T + 1, P]
        changes = (states[1:] != states[:-1]).any(-1).nonzero().flatten()
        last = max([last, *(changes[-1:] + 1).tolist()])
    return last


def frames(takes: Sequence[Take]) -> int:
    """How many states there are to draw."""
    return len(takes) * sum(moving(takes, episode) + 1 for episode in range(len(takes[0].episodes)))


def caption(episode: int, step: int, success: Tensor) -> tuple[str, bool]:
    """What is to be said after `step` steps of an episode with `success [T]`, and whether it has succeeded by then."""
    steps = success[:step].nonzero().flatten().tolist()
    where = f"episode {episode}  step {step}/{len(success)}"
    if steps:
        return f"{where}  success at {steps[0] + 1}", True
    return (f"{where}  failed" if step == len(success) else where), False


def columns(steps: int) -> list[int]:
    """The steps of an episode that a contact sheet shows, evenly spaced, first and last among them."""
    return sorted({round(i * steps / (COLUMNS - 1)) for i in range(COLUMNS)})


def _flat(states: EnvStates) -> EnvStates:
    """`[E * (T + 1)]` of `[E, T + 1]`."""
    return states.map(lambda tensor: tensor.flatten(0, 1))
