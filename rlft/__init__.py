"""rlft: finetune robot policies with reinforcement learning and find out, honestly, which method works."""
