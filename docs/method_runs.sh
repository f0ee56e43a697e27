#!/usr/bin/env bash
# The runs behind the table in rerollouts.md, one after the other; hours on two cores. It may be interrupted and started
# again.
#
#     bash docs/method_runs.sh
set -u
source "$(dirname "$0")/runs.sh"

for seed in 1 2 3; do run --config configs/awr.yaml --seed_everything $seed; done
for seed in 1 2 3; do run --config configs/mc_ppo.yaml --seed_everything $seed; done
for seed in 1 2 3; do run --config configs/recap_offline.yaml --seed_everything $seed; done
run --config configs/mc_awr_offline.yaml --seed_everything 1
run --config configs/recap_awr.yaml --seed_everything 1
run --config configs/mc_awr.yaml --model.advantage.num_samples 5 --seed_everything 1
run --config configs/mc_awr.yaml --model.advantage.num_samples 5 --model.update.target_kl 0.5 --seed_everything 1
run --config configs/mc_rerollout_ppo.yaml --seed_everything 1
run --config configs/conditioned_recap.yaml --seed_everything 1
run --config configs/mc_awr.yaml --seed_everything 1
run --config configs/mc_awr_onpolicy.yaml --seed_everything 1
