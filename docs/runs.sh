# Sourced by the scripts of runs: `run OPTIONS` is `rlft fit OPTIONS`, unless that has been completed; begun runs go on
# after their last complete iteration.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

completed() {
  grep -lsF "command: \`rlft fit $*\`" lightning_logs/*/version_*/report.md |
    xargs -r grep -ls "^Completed" | grep -q .
}

run() {
  completed "$@" || completed "$@" --ckpt_path last || rlft fit "$@" --ckpt_path last 2>/dev/null || rlft fit "$@"
}
