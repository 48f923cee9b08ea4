#!/bin/sh
# Checks the machinery, the package ml-microservice, before any of it is executed: sh machinery.sh UV PYTHON
#
# It has to be whole, of one version, and, from an index, what ml-microservice.sha256 says. A copy in vendor/ that was
# patched is used: `make lint` and `ml-service doctor` name the files. `make setup` calls this; docs/machinery.md.
set -eu
export LC_ALL=C
MANIFEST=ml-microservice.sha256
UPDATED="finish the update, or undo it with 'git checkout .'"

refuse() {
    echo "setup: $1" >&2
    exit 1
}

# The first three lines of stdin, as one.
listed() {
    awk 'NR <= 3 { line = line (NR > 1 ? ", " : "") $0 } END { print line (NR > 3 ? " and " NR - 3 " more" : "") }'
}

# Digests of files that differ from the manifest, or are missing: their names.
differing() {
    (cd "$1" && $(command -v sha256sum || echo shasum -a 256) --check "$OLDPWD/$MANIFEST" 2>/dev/null) |
        sed -n "s/: $2\$//p"
}

[ -f "$MANIFEST" ] || refuse "$MANIFEST is missing: get it back with 'git checkout -- $MANIFEST'"
COPY=$(sed -n 's/^ml-microservice = { path = "\([^"]*\)".*/\1/p' pyproject.toml)
PINNED=$(sed -n 's/.*"ml-microservice==\([^"]*\)".*/\1/p' pyproject.toml)
VERSION=$(sed -n 's/^# ml-microservice //p' "$MANIFEST")

if [ -n "$COPY" ] && [ ! -f "$COPY/pyproject.toml" ]; then
    refuse "$COPY, the copy of the machinery, is missing: get it back with 'git checkout -- $COPY'"
fi
rejected=$(find pyproject.toml.rej "$MANIFEST.rej" ${COPY:+"$COPY"} -name '*.rej' 2>/dev/null | listed)
[ -z "$rejected" ] || refuse "an update left changes that did not apply in $rejected: $UPDATED"
marked=$(grep -rlE '^<<<<<<< ' pyproject.toml "$MANIFEST" ${COPY:+"$COPY"} | listed)
[ -z "$marked" ] || refuse "an update left conflict markers in $marked: $UPDATED"
[ "$PINNED" = "$VERSION" ] ||
    refuse "pyproject.toml asks for ml-microservice ${PINNED:-of no version}, $MANIFEST is of $VERSION: $UPDATED"

if [ -n "$COPY" ]; then
    copied=$(sed -n 's/^version = "\(.*\)"/\1/p' "$COPY/pyproject.toml")
    [ "$copied" = "$VERSION" ] ||
        refuse "pyproject.toml asks for ml-microservice $VERSION, $COPY is of $copied: $UPDATED"
    missing=$(differing "$COPY/src" "FAILED open or read" | listed)
    [ -z "$missing" ] || refuse "$COPY lacks $missing: get it back with 'git checkout -- $COPY', or finish the update"
    exit
fi

# The way of a package: the wheel is unpacked beside the environment and looked at, and not imported.
URL=$(sed -n '/^name = "team"/,/^$/s/^url = "\(.*\)"/\1/p' pyproject.toml)
case $URL in
"") refuse "pyproject.toml names no package index: [[tool.uv.index]] has to have the name \"team\" and a url" ;;
*//packages.example.com/*) refuse "put the address of your team's package index, as url of [[tool.uv.index]], into \
pyproject.toml, which has $URL from the template" ;;
file:*) index="--no-index --find-links $URL" ;;
*) index="--default-index team=$URL" ;;
esac
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
# shellcheck disable=SC2086
said=$("$1" pip install --python "$2" --target "$unpacked" --no-deps --only-binary :all: \
    --refresh-package ml-microservice $index "ml-microservice==$VERSION" 2>&1) || case $said in
*"No solution found"*) refuse "$URL does not have ml-microservice $VERSION: publish there what 'make dist' builds in \
the template's clone, at the commit that .cruft.json names" ;;
*) refuse "$URL cannot be asked for ml-microservice $VERSION: $(echo "$said" | sed -n '$s/^ *[a-z]*: //p')" ;;
esac
other=$(
    differing "$unpacked" "FAILED.*"
    cd "$unpacked" && find . -type f ! -path './ml_microservice-*.dist-info/*' ! -path ./bin/ml-service ! -path ./.lock |
        sed 's|^\./||' | grep -vxF "$(sed -n 's/^[0-9a-f]\{64\}  //p' "$OLDPWD/$MANIFEST")"
) || true
[ -z "$other" ] || refuse "$URL serves another package as ml-microservice $VERSION: $(echo "$other" | listed) \
differ from $MANIFEST; it was not installed. Publish what 'make dist' builds in the template's clone, at the commit \
that .cruft.json names"
