#!/usr/bin/env bash
# The npm packages of ONNX Runtime bring neither their licence's text nor notices of what is inside.
#
# onnxruntime-web and onnxruntime-node say "license": "MIT" in package.json, and MIT asks that its text goes with every
# copy. Neither package has a file of it, nor the notices of the libraries that are compiled into the .wasm and the
# native binaries. The Python wheel of the same project has both (LICENSE, ThirdPartyNotices.txt). A tool that gathers
# the licences of a static page from its packages finds nothing to gather.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

for package in onnxruntime-web@1.30.0 onnxruntime-node@1.30.0; do
  tarball=$(npm pack --silent "$package")
  tar xzf "$tarball"
  echo "$package: license field $(node -p 'require("./package/package.json").license')," \
    "files of licences or notices: $(tar tzf "$tarball" | grep -ciE '/(licen[cs]e|copying|notice|third)[^/]*$' || true)"
  rm -rf package
done >seen
"${PYTHON:-python3}" -m venv env
env/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: onnxruntime==1.32.0
echo "onnxruntime==1.32.0 wheel:" \
  "$(env/bin/python -m zipfile -l onnxruntime-1.32.0-*.whl | grep -oE 'onnxruntime/(LICENSE|ThirdPartyNotices.txt)' | sort | xargs)" >>seen

cat >expected <<'TXT'
onnxruntime-web@1.30.0: license field MIT, files of licences or notices: 0
onnxruntime-node@1.30.0: license field MIT, files of licences or notices: 0
onnxruntime==1.32.0 wheel: onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt
TXT
cat seen
diff -u expected seen || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
