"""Mistakes that have cost people days, as checks on what is known of a run before and shortly after it starts.

The first twelve are those of the founding documents, each with what is known of it here. Where our own measurements
contradict a document, the check follows the measurements. Those of off-policy learning follow.
"""

from __future__ import annotations

import re

from rlft.callbacks.off_policy_pitfalls import OFF_POLICY
from rlft.callbacks.pitfall import Facts, Pitfall

__all__ = ["PITFALLS", "Facts", "Pitfall", "found"]


def found(facts: Facts) -> list[Pitfall]:
    """The pitfalls that a run is in."""
    return [pitfall for pitfall in PITFALLS if pitfall.applies(facts)]


def _noisy_start(facts: Facts) -> bool:
    if facts.start_success is None or facts.start_success_sampled is None:
        return False
    return facts.start_success - facts.start_success_sampled >= 0.2


def _misleading_name(facts: Facts) -> bool:
    named = re.search(r"(?:^|[_-])(?:mc|k)(\d+)(?:[_-]|$)", facts.run_name or "")
    return named is not None and facts.num_samples is not None and int(named[1]) != facts.num_samples


def _tight_kl(facts: Facts) -> bool:
    """A KL stop below what Adam's first step may take, 0.1 to 0.5 nats with a learning rate of 3e-4."""
    cold = facts.actor_rate > 1e-4 and not facts.learning_rate_warmup
    return facts.update in ("PPO", "AWR") and facts.target_kl is not None and facts.target_kl < 1 and cold


def _unfit_gamma(facts: Facts) -> bool:
    if facts.estimator != "MonteCarloRerollout" or facts.gamma is None:
        return False
    if facts.rollout_policy == facts.start_policy:  # its own; both None for a new policy
        return facts.update == "PPO" and facts.gamma < 0.9
    return facts.gamma > 0.95


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


PITFALLS = (
    Pitfall(
        1,
        "strong-start",
        lambda facts: facts.start_success is not None and facts.start_success >= 0.9,
        "the start policy succeeds in {start_success:.1%} with its mean action, which leaves little to improve",
        "established: by what is left",
        "Start from an earlier policy of its training, which --checkpoint.keep_every keeps there.",
    ),
    Pitfall(
        2,
        "sampled-evaluation",
        lambda facts: any(monitor.startswith(("eval_stochastic/", "train/")) for monitor in facts.monitors),
        "something is decided by a success rate of sampled actions, which falls with the policy's noise",
        "established: 46.7% against 42.6% for pickcube/weak, 65.9% against 98.7% for pickcube/noisy, docs/policies.md",
        "Monitor eval/success_rate; eval.stochastic logs the other one beside it.",
    ),
    Pitfall(
        3,
        "tight-target-kl",
        lambda facts: _tight_kl(facts) and (facts.start_policy is not None or facts.update_epochs >= 10),
        "the first step of Adam, which is as long as the learning rate whatever the gradient, may exceed a target_kl "
        "below 1; the iteration then ends with it, and the steps that would mend it are not made",
        "established: PPO with 20 epochs at 0.1 ended below its start in 10 of 15 runs, with any critic, and in none "
        "of 5 with a warm-up, docs/results_critics.md",
        "Set model.learning_rate_warmup 100, or model.update.target_kl 100.",
    ),
    Pitfall(
        4,
        "short-warmup",
        lambda facts: _tight_kl(facts) and 0 < facts.warmup_iterations <= 3,
        "a critic that was warmed up for three iterations or fewer is not ready for a target_kl below 1",
        "doubtful: it is not the critic, with a pretrained one 4 of 5 runs ended below their start, "
        "docs/results_critics.md",
        "Set model.learning_rate_warmup 100, or model.update.target_kl 100.",
    ),
    Pitfall(
        5,
        "misleading-name",
        _misleading_name,
        "run_name says another number of re-rollouts than the configuration",
        "established: mislabelled runs are among the founding documents' own",
        "Leave run_name out; it is then derived from the configuration.",
    ),
    Pitfall(
        6,
        "foreign-critic",
        lambda facts: _differ(facts.critic_of, facts.rollout_policy or facts.start_policy),
        "the critic that the run starts with is of another policy than the one whose value is wanted: if of a better "
        "one, an oracle",
        "doubtful as a mistake: an expert's critic gave 92.5%, a new one 85.5%, docs/results_critics.md",
        "Say so in comparisons; configs/pretrain_critic.yaml makes one of the start policy.",
    ),
    Pitfall(
        7,
        "foreign-rerollouts-offline",
        lambda facts: facts.offline and facts.update == "AWR" and _differ(facts.rollout_policy, facts.data_policy),
        "advantages of fixed data are measured by re-rollouts of another policy than the one that collected them",
        "doubtful as a mistake: AWR on fixed data reaches 74.2% and 84.4% with an expert's, 57.0% and 64.8% with "
        "those of the policy that collected them, RECAP 98.7% with an expert's, docs/results_rerollouts.md",
        "Say in comparisons that an expert was there; RECAP makes more of it than AWR.",
    ),
    Pitfall(
        8,
        "learned-q",
        lambda facts: facts.q_minus_v and facts.reward_mode == "sparse",
        "with a sparse reward a learned Q hardly tells the actions of one state apart",
        "established: rank correlation -0.03 [-0.10, 0.04] for IQL, docs/ranking.md",
        "Set model.advantage.advantage gae, which needs only V.",
    ),
    Pitfall(
        9,
        "regressed-advantage",
        lambda facts: facts.regressed,
        "a network that is fitted to advantages loses what ranks the actions of a state",
        "established: rank correlation 0.21 [0.15, 0.28] before and -0.01 [-0.08, 0.06] after, docs/ranking.md",
        "Use the estimates of the trajectories themselves.",
    ),
    Pitfall(
        10,
        "gamma-of-returns",
        lambda facts: facts.reward_mode == "sparse" and _unfit_gamma(facts),
        "re-rollouts of another policy, an expert's, hardly tell early success from late at a gamma above 0.95; PPO "
        "on those of the policy itself forgets late successes below 0.9",
        "established: AWR with an expert's reaches 87.7% at 0.99, slower in two of three seeds, and 97.1% to 98.2% at "
        "0.8 to 0.95, PPO with its own 88.3% at 0.8 and 97.1% at 0.95 (three seeds), docs/results_rerollouts.md",
        "Set model.advantage.gamma 0.8 with an expert, 0.95 without.",
    ),
    Pitfall(
        11,
        "offline-tricks-online",
        lambda facts: (
            facts.update == "PPO"
            and not facts.offline
            and (facts.reward_scale >= 10 or facts.critic_layers >= 6 or facts.critic_width >= 512)
        ),
        "a large critic or a large reward_scale, which help to fit fixed data, do not help PPO online",
        "claimed: 81.2% with both, 90.7% with neither",
        "Set model.advantage.reward_scale 1 and a critic of 3 x 256.",
    ),
    Pitfall(
        12,
        "small-offline-batch",
        lambda facts: (
            facts.offline
            and facts.update in ("AWR", "RECAP")
            and ((facts.batch_size is not None and facts.batch_size < 25_600) or facts.update_epochs > 4)
        ),
        "AWR on fewer than 25,600 fixed transitions, or with more than 4 epochs per iteration, overfits",
        "claimed; online, 200 epochs on 5,000 transitions do: docs/results_rerollouts.md",
        "Collect 128 x 200 or more, with update_epochs 4 and num_minibatches 32.",
    ),
    *OFF_POLICY,
    Pitfall(
        17,
        "endless-warm-up",
        lambda facts: facts.iterations is not None and 0 < facts.iterations <= facts.warmup_iterations,
        "the run ends before its warm-up does, so the policy never changes",
        "established: by what a warm-up is",
        "Set model.warmup_iterations below trainer.max_epochs.",
    ),
    Pitfall(
        18,
        "noisy-start",
        _noisy_start,
        "the start policy succeeds in {start_success:.1%} with its mean action, but in {start_success_sampled:.1%} "
        "with sampled ones: what is learned from has few of its successes, and improvement may only be less noise",
        "established: pickcube/noisy has 98.7% and 65.9%, docs/policies.md; pickcube/weak with a log standard "
        "deviation of -0.5 has 44.5% and 0.0%, with -1.5 again 51.5%",
        "Sample with less noise: --trainer.callbacks+=ExplorationSchedule --trainer.callbacks.points '[[0, -1.5]]' "
        "sets the log standard deviation.",
    ),
)
