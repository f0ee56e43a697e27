# Sourced by the scripts of runs: `run OPTIONS` is `rlft fit OPTIONS`, unless that has been completed; begun runs go on
# after their last complete iteration. Ctrl-C ends the script.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
trap 'exit 130' INT

completed() {
  local command
  command=$(python -c 'import shlex, sys; print(shlex.join(["rlft", "fit", *sys.argv[1:]]))' "$@")
  grep -lsF "command: \`$command\`" lightning_logs/*/version_*/report.md | xargs -r grep -ls "^Completed" | grep -q .
}

run() {
  completed "$@" || completed "$@" --ckpt_path last || rlft fit "$@" --ckpt_path last || rlft fit "$@"
}
