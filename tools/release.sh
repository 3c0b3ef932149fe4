# For scripts, which read it with `.`: what is released.
# shellcheck shell=sh
version=$(sed -n 's/^#define OX_VERSION "\(.*\)"/\1/p' include/onnxexplainer.h)
name=onnxexplainer-$version
# The commit's date is that of everything in it.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
