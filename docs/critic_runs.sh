#!/usr/bin/env bash
# The runs behind critics.md, one after the other; about two hours on two cores. It may be interrupted and started again.
#
#     bash docs/critic_runs.sh
set -u
source "$(dirname "$0")/runs.sh"

# Critics are trained in minutes: one that was interrupted begins anew, so that its best is the best of all iterations.
pretrain() { completed "$@" || rlft fit "$@"; }
best() { ls -td lightning_logs/"$1"/version_*/policies/best.safetensors | head -1; }

# ---- critics: of the weak policy, of the expert in its own states, of the expert in the weak policy's states ----------
for gamma in 0.8 0.99; do
  options="--model.advantage.gamma $gamma --run_name"
  pretrain --config configs/pretrain_critic.yaml $options critic_weak_$gamma
  pretrain --config configs/pretrain_critic.yaml --model.policy pickcube/expert $options critic_expert_$gamma
  pretrain --config configs/pretrain_critic_rerollout.yaml $options critic_expert_on_weak_$gamma
done

# ---- GAE and PPO with each of them, and with a new one -----------------------------------------------------------------
for gamma in 0.8 0.99; do
  for seed in 1 2 3 4 5; do
    fit="--config configs/gae_ppo.yaml --model.advantage.gamma $gamma --seed_everything $seed"
    run $fit --run_name ppo_reset_$gamma-seed$seed
    for critic in weak expert expert_on_weak; do
      run $fit --model.critic_policy "$(best critic_${critic}_$gamma)" \
        --model.accept_critic_mismatch '[policy]' --run_name ppo_${critic}_$gamma-seed$seed
    done
  done
done

# ---- who stops at a KL of 0.1: the actor, or the iteration --------------------------------------------------------------
for scope in both actor; do
  for seed in 1 2 3 4 5; do
    run --config configs/gae_ppo.yaml --model.update.target_kl 0.1 --model.update.kl_stop_scope $scope \
      --data.update_epochs 20 --seed_everything $seed --run_name klstop_${scope}_seed$seed
  done
done
