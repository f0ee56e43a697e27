"""Pictures of replay: each once, in memory and in files, and the right ones."""

import torch

from rlft.data import RolloutDataModule, replay_files
from rlft.data.dataset_file import Dataset, read_dataset, write_dataset
from rlft.data.frames import Frames
from rlft.data.replay_buffer import ReplayBuffer
from rlft.networks import CategoricalActor
from rlft.types import Experience, Obs
from tests.support.pictured import PicturedReach

ENVS, SIZE = 3, 8


def experience(steps, ends, seed=0):
    """Episodes whose every picture is another one, told by its number, which is also the state."""
    number, current = ENVS, torch.arange(ENVS)
    rows = []
    for t in range(steps):
        following = torch.arange(number, number + ENVS)
        number += ENVS
        done = torch.tensor([(t, env) in ends for env in range(ENVS)])
        rows.append((current, following, done))
        current = torch.where(done, torch.arange(number, number + ENVS), following)
        number += ENVS
    now, after, done = (torch.stack(column) for column in zip(*rows, strict=True))
    nothing = torch.zeros_like(done)
    return Experience(
        obs=pictured(now),
        action=torch.zeros(steps, ENVS, 1, dtype=torch.int64),
        reward=torch.zeros(steps, ENVS),
        next_obs=pictured(after),
        terminated=done,
        truncated=nothing,
        usable=~nothing,
    )


def pictured(number):
    image = torch.zeros(*number.shape, 1, SIZE, SIZE, dtype=torch.uint8)
    image[..., 0, 0, 0], image[..., 0, 3, 5] = number % 256, number // 256
    return Obs(number[..., None].float(), image)


def shown(image):
    return image[..., 0, 0, 0].long() + 256 * image[..., 0, 3, 5].long()


ENDS = {(4, 0), (4, 1), (9, 2), (19, 0), (30, 1)}


def test_every_kept_step_has_its_own_pictures():
    whole = experience(40, ENDS)
    for capacity in (7, 100):
        frames, first = Frames(capacity, whole.obs.image), 0
        for length in (3, 1, 1, 10, 2, 9, 14):
            part = whole[first : first + length]
            frames.add(part.obs.image, part.next_obs.image)
            first += length
            steps, envs = torch.meshgrid(
                torch.arange(max(0, first - capacity), first), torch.arange(ENVS), indexing="ij"
            )
            steps, envs = steps.flatten(), envs.flatten()
            assert torch.equal(shown(frames.at(steps, envs)), whole.obs.state[steps, envs, 0].long())
            assert torch.equal(shown(frames.after(steps, envs)), whole.next_obs.state[steps, envs, 0].long())
            kept = sum(first - capacity <= t < first - 1 for t, _ in ENDS)
            assert frames.apart == kept + ENVS  # ends, and what follows the last step


def test_batches_show_what_their_states_say():
    whole, buffer = experience(40, ENDS), ReplayBuffer(25)
    for first in range(0, 40, 8):
        buffer.add(whole[first : first + 8])
    assert buffer.whole.obs.image.shape[-1] == 0
    batches = buffer.transitions(3, 50, 3, 0.9, torch.Generator().manual_seed(0))
    without, plain = ReplayBuffer(25), experience(40, ENDS)
    numbers = Experience(**{**vars(plain), "obs": Obs(plain.obs.state), "next_obs": Obs(plain.next_obs.state)})
    for first in range(0, 40, 8):
        without.add(numbers[first : first + 8])
    same = without.transitions(3, 50, 3, 0.9, torch.Generator().manual_seed(0))
    for batch, other in zip(batches, same, strict=True):
        for obs, alike in ((batch.obs, other.obs), (batch.transition.next_obs, other.transition.next_obs)):
            assert torch.equal(shown(obs.image), obs.state[:, 0].long())
            assert torch.equal(obs.state, alike.state)  # pictures do not change what is drawn
    (batch,) = buffer.returns(1, 50, 0.9, torch.Generator().manual_seed(0))
    assert torch.equal(shown(batch.obs.image), batch.obs.state[:, 0].long())


def test_the_room_does_not_grow_beyond_the_capacity():
    buffer, whole = ReplayBuffer(40), experience(40, ENDS)
    for _ in range(10):
        for first in range(0, 40, 8):
            buffer.add(whole[first : first + 8])
    assert len(buffer._store) <= 40 + 10 + 8
    assert len(buffer._frames._image) == 40


def test_files_keep_pictures_once_and_give_them_back(tmp_path):
    whole = experience(40, ENDS)
    replay_files.write_segment(tmp_path, 0, whole, {})
    again, _ = replay_files.read_segment(tmp_path, 0)
    for obs, found in ((whole.obs, again.obs), (whole.next_obs, again.next_obs)):
        assert torch.equal(obs.image, found.image)
        assert torch.equal(obs.state, found.state)
    assert replay_files.segment(tmp_path, 0).stat().st_size < whole.obs.image.numel()


def test_a_data_set_has_its_pictures_and_its_choices(tmp_path):
    data = RolloutDataModule(PicturedReach(), 4, 30, 1, 1, num_workers=0)
    rollout, *_ = data.rollouts.collect(CategoricalActor(6, 1, 5), data.rollouts.initial_states(1), 30, 1, 0)
    data.teardown("fit")
    sizes = {"num_steps": 30, "num_envs": 4, "obs_dim": 6, "action_dim": 1}
    info = {**sizes, "metrics": {}, "task": "PicturedReach", "env_steps": 120, "sim_steps": 120}
    write_dataset(tmp_path / "data.safetensors", Dataset(rollout, None, info))
    again = read_dataset(tmp_path / "data.safetensors").rollout
    assert torch.equal(again.next_obs.image, rollout.next_obs.image)
    assert torch.equal(again.obs.image, rollout.obs.image)
    assert torch.equal(again.action, rollout.action)
