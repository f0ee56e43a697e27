"""ManiSkill tasks and robots of rlft's own, registered with ManiSkill where an environment is built."""
