#!/usr/bin/env bash
# Writes the bill of materials of an image's Python packages (CycloneDX 1.6, JSON) and looks them up among the known
# vulnerabilities. The exit code is 1 if there are any, and 3 if no database of them answers.
#
#   packaging/audit.sh cpu|gpu [FOLDER]
#
# FOLDER gets sbom-TARGET.json and audit-TARGET.json; by default dist. Needs: pip install cyclonedx-bom pip-audit
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-}
folder=${2:-dist}
if [ $# -lt 1 ] || [ $# -gt 2 ] || { [ "$target" != cpu ] && [ "$target" != gpu ]; }; then
    echo "packaging/audit.sh takes cpu or gpu, and a folder; it got: $*" >&2
    exit 2
fi
for tool in cyclonedx-py pip-audit; do
    if ! command -v "$tool" >/dev/null; then
        echo "There is no $tool here. Install it with: pip install cyclonedx-bom pip-audit" >&2
        exit 2
    fi
done

lock=packaging/requirements-$target.txt
mkdir -p "$folder"
cyclonedx-py requirements --output-reproducible --short-PURLs --output-file "$folder/sbom-$target.json" "$lock"
echo "$folder/sbom-$target.json: $(grep -c '^[^ #]' "$lock") packages"

log=$folder/audit-$target.log
: >"$log"
audited=$folder/audit-$target.json
for service in osv pypi; do
    rm -f "$audited"
    code=0
    # The databases know the versions of PyPI, without what names a build.
    sed 's/^\([^ ]*\)+cpu /\1 /' "$lock" |
        pip-audit --requirement /dev/stdin --no-deps --disable-pip --progress-spinner off \
            --vulnerability-service "$service" --format json --output "$audited" 2>>"$log" || code=$?
    if [ -s "$audited" ] && grep -q '"vulns"' "$audited"; then # else every package was skipped
        echo "$audited: looked up with $service, exit code $code"
        exit "$code"
    fi
done
rm -f "$audited"
echo "No database of vulnerabilities answered (see $log): the packages were not looked up." >&2
exit 3
