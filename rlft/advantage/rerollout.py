"""Monte-Carlo re-rollouts: go back to the states of the rollout and play on from there, many times.

Kazemnejad, Aghajohari, Portelance, Sordoni, Reddy, Courville, Le Roux 2024, "VinePPO", section 4: V(s) is the mean
return of K re-rollouts from s, without a learned critic. With an expert playing on, these are the advantages of Ross
and Bagnell 2014, "AggreVaTe". Deviations: the re-rollout policy may be any policy; in a deterministic simulator
Q(s, a) = r + gamma V(s') needs no re-rollouts of its own (`identity`), which halves the cost at the same variance.
"""

import math
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from rlft.advantage.base import ValueEstimator, explained_variance
from rlft.advantage.sampling import mean_returns
from rlft.errors import UserError
from rlft.policies import check_shapes, load_policy
from rlft.types import Actor, AdvantageEstimate, Batch, Critic, Jobs, Rerollouts, Rollout


class MonteCarloRerollout(ValueEstimator):
    """Q - V of a re-rollout policy, measured in the simulator.

    Logs the advantages' root-mean-square standard error and their reliability: the share of their variance that is
    not sampling error. Common noise and a pilot make the error smaller (or, for the pilot, larger) than it says.

    Args:
        policy: who plays on: a zoo name, policy or checkpoint file, e.g. an expert (an oracle that real tasks do not
            have). `null` is the policy being trained.
        num_samples: re-rollouts per state (K).
        gamma: discount per env step.
        estimator: `identity` measures V once per state and takes Q(s, a) from the state that a led to. `direct`
            measures Q by re-rollouts that begin with a, at twice the cost.
        horizon: `remaining` ends a re-rollout at the time limit of the episode it began in. `fresh` gives it a whole
            time limit of its own; with `identity` Q then sees one step more than V, a bias of at most gamma^limit.
        tolerance: also end re-rollouts once gamma^steps is below this. It bounds the bias of a return whose reward
            comes at most once; with rewards of up to R in every step the bound is R / (1 - gamma) times this.
        common_noise: re-rollouts from states of one environment share their action noise, aligned in time.
        antithetic: pairs of re-rollouts use opposite action noise; needs an even number of samples.
        every_k: estimate only every k-th step. Neighbouring steps share re-rollouts: 2 saves nothing, 4 saves half.
        pilot_samples: begin with so many re-rollouts per state, then spend what is left of the cost of `num_samples`
            where the returns vary most; `null` gives every state `num_samples`. Pays where variances differ much from
            state to state, as with an expert; slightly biased, because the pilot counts too.
        center: `batch` subtracts the mean of all advantages. `state` subtracts the state's mean advantage over
            `center_actions` other actions of the policy being trained, each with `num_samples` re-rollouts.
        center_actions: see `center`.
        critic: also learn a critic of these values and log how well it agrees; nothing else uses it.
        vf_coef: weight of that critic's loss.
    """

    needs_visited = True

    def __init__(
        self,
        policy: str | None = None,
        num_samples: int = 16,
        gamma: float = 0.8,
        estimator: Literal["identity", "direct"] = "identity",
        horizon: Literal["remaining", "fresh"] = "remaining",
        tolerance: float = 1e-3,
        common_noise: bool = False,
        antithetic: bool = False,
        every_k: int = 1,
        pilot_samples: int | None = None,
        center: Literal["none", "batch", "state"] = "none",
        center_actions: int = 4,
        critic: bool = False,
        vf_coef: float = 0.5,
    ) -> None:
        super().__init__(gamma=gamma, vf_coef=vf_coef)
        where = "model.advantage"
        for name, value in (("num_samples", num_samples), ("every_k", every_k), ("center_actions", center_actions)):
            if value < 1:
                raise UserError(f"{where}.{name} is {value}; it must be at least 1.")
        if not 0 < tolerance < 1:
            raise UserError(f"{where}.tolerance is {tolerance}; it must be between 0 and 1.")
        if antithetic and (num_samples % 2 or (pilot_samples or 0) % 2):
            odd = num_samples if num_samples % 2 else pilot_samples
            raise UserError(f"{where}.antithetic needs an even number of samples, not {odd}.")
        fewest = 4 if antithetic else 2  # one sample, or one pair, says nothing about variance
        if pilot_samples is not None and not fewest <= pilot_samples <= num_samples:
            raise UserError(f"{where}.pilot_samples is {pilot_samples}; it must be from {fewest} to num_samples.")
        self.policy = policy
        self.num_samples = num_samples
        self.estimator = estimator
        self.horizon = horizon
        self.tolerance = tolerance
        self.common_noise = common_noise
        self.antithetic = antithetic
        self.every_k = every_k
        self.pilot_samples = pilot_samples
        self.center = center
        self.center_actions = center_actions
        self.wants_critic = critic

    @cached_property
    def _oracle(self) -> Actor | None:
        return None if self.policy is None else load_policy(self.policy).actor

    def check(self, obs_dim: int, action_dim: int) -> None:
        """Refuses an oracle of another task."""
        if self.policy is not None:
            check_shapes(load_policy(self.policy), obs_dim, action_dim)

    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """Plays the re-rollouts; steps that `every_k` skips or that the simulator spoiled are masked."""
        device, critic_value, critic_next = rollout.obs.device, critic(rollout.obs), critic(rollout.next_obs)
        rollout = rollout.to("cpu")
        asked = torch.zeros_like(rollout.done)  # [T, N]
        asked[:: self.every_k] = True
        starts = _Starts(rerollouts, self._horizons(rerollouts), common_noise=self.common_noise)
        rows = starts.rows(asked, asked & ~rollout.terminated & (self.estimator == "identity"))
        actions = [rollout.action] if self.estimator == "direct" else []
        actions += self._other_actions(rollout, rerollouts.actor) if self.center == "state" else []
        jobs = [starts.of_states(rows), *(starts.of_actions(asked, action, i) for i, action in enumerate(actions))]

        player = rerollouts.actor if self._oracle is None else self._oracle
        returns = mean_returns(
            lambda jobs: rerollouts.play(player, jobs, self.gamma),
            Jobs.cat(jobs),
            self.num_samples,
            antithetic=self.antithetic,
            pilot_samples=self.pilot_samples,
        )
        part, *action_parts = torch.split(torch.arange(len(returns)), [len(j) for j in jobs])
        value = starts.by_state(rows, returns.mean[part])  # [M]
        error = starts.by_state(rows, returns.squared_error[part])  # [M]
        by_action = [(_grid(asked, returns.mean[p]), _grid(asked, returns.squared_error[p])) for p in action_parts]

        if self.estimator == "direct":
            quality, quality_error = by_action.pop(0)
        else:  # Q(s, a) = r + gamma (1 - terminated) V(s')
            quality = rollout.reward + torch.where(rollout.terminated, 0.0, self.gamma * value[starts.after])
            quality_error = torch.where(rollout.terminated, 0.0, self.gamma**2 * error[starts.after])
        baseline, baseline_error = value[starts.before], error[starts.before]
        if self.center == "state":
            baseline = torch.stack([mean for mean, _ in by_action]).mean(0)
            baseline_error = torch.stack([squared for _, squared in by_action]).mean(0) / len(by_action)
        advantage = quality - baseline  # [T, N]
        mask = advantage.isfinite()
        if self.center == "batch":
            advantage = advantage - advantage[mask].mean()

        metrics = _precision(advantage[mask], (quality_error + baseline_error)[mask])
        value_target = value[starts.before]
        if self.wants_critic:
            delta = (rollout.reward + self.gamma * ~rollout.terminated * critic_next.cpu() - critic_value.cpu())[mask]
            metrics |= {
                "losses/explained_variance": explained_variance(critic_value.cpu()[mask], value_target[mask]),
                "charts/critic_advantage_correlation": _correlation(delta, advantage[mask]),
            }
        return AdvantageEstimate(
            advantage=advantage.nan_to_num().to(device),
            value=critic_value,
            value_target=value_target.nan_to_num().to(device),
            mask=mask.to(device),
            metrics=metrics,
        )

    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the diagnostic critic, if there is one."""
        if not self.wants_critic:
            return batch.value.new_zeros(()), {}
        return super().critic_loss(critic, batch)

    def _horizons(self, rerollouts: Rerollouts) -> Tensor:
        """After how many env steps a re-rollout from each visited state ends, `[M]` int64."""
        limit = rerollouts.spec.max_episode_steps
        elapsed = rerollouts.visited.states.elapsed
        horizon = limit - elapsed if self.horizon == "remaining" else torch.full_like(elapsed, limit)
        if self.gamma == 1:
            return horizon
        return horizon.clamp(max=math.ceil(math.log(self.tolerance) / math.log(self.gamma)) if self.gamma else 1)

    def _other_actions(self, rollout: Rollout, actor: Actor) -> list[Tensor]:
        """Further samples `[T, N, A]` of the policy's actions in the same states.

        Their noise is that of actions it took in other environments: fresh as far as these states are concerned, and no
        random numbers are needed.

        Raises:
            UserError: if there are too few environments.
        """
        if self.center_actions >= rollout.action.shape[1]:
            raise UserError(f"model.advantage.center_actions is {self.center_actions}; it must be below data.num_envs.")
        device = next(actor.parameters()).device
        mean = actor(rollout.obs.to(device)).cpu()
        noise = rollout.action - mean  # [T, N, A]
        return [mean + noise.roll(i + 1, 1) for i in range(self.center_actions)]


class _Starts:
    """Where re-rollouts begin: visited states by row, with an address for the noise that no worker influences."""

    def __init__(self, rerollouts: Rerollouts, horizon: Tensor, *, common_noise: bool) -> None:
        visited = rerollouts.visited
        self.action_dim = rerollouts.spec.action_dim
        self.before, self.after = visited.before, visited.after  # [T, N], rows
        self.horizon = horizon  # [M], env steps
        self.common_noise = common_noise
        steps, envs = self.before.shape
        self.block = 2 * steps * envs  # numbers of states
        self.number = torch.full((len(horizon),), -1)  # [M], of a state: where in the rollout it is
        place = torch.arange(self.block).view(2, steps, envs)
        self.number[self.after] = place[1]
        self.number[self.before] = place[0]
        self.env = self.number % envs
        self.elapsed = visited.states.elapsed

    def rows(self, before: Tensor, after: Tensor) -> Tensor:
        """States before and after these steps (masks `[T, N]`) whose value is not known to be 0, each once."""
        wanted = torch.zeros(len(self.horizon), dtype=torch.bool)
        wanted[self.before[before]] = wanted[self.after[after]] = True
        rows = (wanted & (self.horizon > 0)).nonzero().flatten()
        return rows[self.number[rows].argsort()]

    def of_states(self, rows: Tensor) -> Jobs:
        """Re-rollouts from states; the policy chooses every action."""
        return self._jobs(rows, torch.full((len(rows), self.action_dim), float("nan")), 0)

    def of_actions(self, mask: Tensor, action: Tensor, block: int) -> Jobs:
        """Re-rollouts from before steps `mask [T, N]` that begin with `action [T, N, A]`."""
        return self._jobs(self.before[mask], action[mask], 1 + block)

    def _jobs(self, rows: Tensor, first_action: Tensor, block: int) -> Jobs:
        number = self.env[rows] if self.common_noise else self.number[rows] + block * self.block
        return Jobs(
            state=rows,
            horizon=self.horizon[rows],
            noise=number,
            noise_start=self.elapsed[rows] if self.common_noise else torch.zeros_like(rows),
            noise_sign=torch.ones(len(rows)),
            first_action=first_action,
        )

    def by_state(self, rows: Tensor, values: Tensor) -> Tensor:
        """`values` of states `rows` at their places in `[M]`; NaN elsewhere, 0 where nothing is left to earn."""
        placed = torch.where(self.horizon > 0, float("nan"), 0.0)
        placed[rows] = values
        return placed


def _grid(mask: Tensor, values: Tensor) -> Tensor:
    """`values` at the places of `mask [T, N]`, NaN elsewhere."""
    grid = torch.full(mask.shape, float("nan"))
    grid[mask] = values
    return grid


def _correlation(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def _precision(advantage: Tensor, squared_error: Tensor) -> dict[str, float]:
    """Root-mean-square standard error, and the share of the variance that is not sampling error; of two samples up."""
    if len(advantage) < 2:
        return {}
    error, variance = squared_error.nanmean(), advantage.var()
    if not error.isfinite() or not variance > 0:
        return {}
    return {
        "charts/advantage_standard_error": float(error.sqrt()),
        "charts/advantage_reliability": float(1 - error / variance),
    }
