#!/usr/bin/env bash
# Fetch the demo's real input and make OUT_DIR/storm1996_6h.nc from it. Does nothing when it is there.
#
#   usage: ci/storm-data.sh [OUT_DIR]      default: ~/.cache/ml-suite/sources/storm1996
#
# The source is Debian's package libncarg-data: 27 MB are downloaded, nothing is installed, 1.8 MB are kept. The NetCDF
# is made by recipes/sources/storm1996.py with the training environment's python (ML_SUITE_ENVIRONMENT, else the one that
# ci/environment.sh built).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ml-suite
# not below XDG_CACHE_HOME: the demo's deployment names this folder
out=${1:-$HOME/.cache/ml-suite/sources/storm1996}
python=${ML_SUITE_ENVIRONMENT:-$cache/anemoi}/bin/python
target=storm1996_6h.nc
step=$repository/recipes/sources/storm1996.py
names=(P T U V U500 V500)

say() { printf 'storm-data: %s\n' "$*" >&2; }

fail() {
    say "error: $1"
    [ $# -lt 2 ] || say "  $2"
    exit 1
}

# What the target was made from, so that a change of the step makes it again.
recorded() { sha256sum <"$step" | cut -d' ' -f1; }

complete() {
    [ -s "$out/$target" ] && [ -s "$out/$target.sha256" ] &&
        (cd "$out" && sha256sum --status --check "$target.sha256") 2>/dev/null &&
        grep -qxF "# made by storm1996.py $(recorded)" "$out/$target.sha256"
}

fetch() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        fail "apt-get and dpkg-deb are needed to fetch libncarg-data" \
            "Copy the six *storm.cdf files of NCL's example data into $out and run this again."
    (
        cd "$work"
        apt-get download -q libncarg-data >apt.log 2>&1 || {
            say "updating the package lists"
            apt-get update -q >>apt.log 2>&1 || say "apt-get update failed; trying with the lists that are there"
            apt-get download -q libncarg-data >>apt.log 2>&1
        }
    ) || {
        tail -n 3 "$work/apt.log" >&2
        fail "libncarg-data could not be downloaded" "Is there a network, and is 'main' among the apt sources?"
    }
    dpkg-deb --fsys-tarfile "$work"/libncarg-data_*.deb |
        tar -x --wildcards --strip-components=6 -C "$work/cdf" './usr/share/ncarg/data/cdf/*storm.cdf'
}

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two demos at once: the second waits and then finds the file
if complete; then
    say "$out/$target is there"
    exit 0
fi
[ -x "$python" ] || fail "$python is missing" "Run: bash ci/environment.sh"

work=$(mktemp -d "$out/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/cdf"
for name in "${names[@]}"; do
    [ ! -s "$out/${name}storm.cdf" ] || cp "$out/${name}storm.cdf" "$work/cdf/"
done
if ! "$python" "$step" "$work/cdf" "$work/$target" 2>/dev/null; then
    say "downloading libncarg-data (27 MB)"
    fetch
    "$python" "$step" "$work/cdf" "$work/$target" || fail "the files of libncarg-data are not the expected ones"
fi
mv "$work"/cdf/*storm.cdf "$out/"
(cd "$work" && sha256sum "$target" && printf '# made by storm1996.py %s\n' "$(recorded)") >"$work/$target.sha256"
mv "$work/$target" "$out/"
mv "$work/$target.sha256" "$out/"
say "$out/$target made from $(ls "$out"/*storm.cdf | wc -l) files of libncarg-data"
